//! The files of a stack of layers, for a mount (RUN `--mount=type=bind,from=`).

use std::path::PathBuf;
use std::sync::Arc;

use xbuild_model::Chain;
use xbuild_model::rootfs::RootKind;
use xbuild_model::run::ReadySource;
use xbuild_model::seam::MountFiles;

use super::carried::Folder;
use super::held::Held;
use super::obtain;
use super::shared::Shared;
use crate::EngineError;

/// Makes the files of `chain` ready.
pub(super) fn hold(
    shared: &Arc<Shared>,
    chain: &Chain,
    writable: bool,
) -> Result<Box<dyn MountFiles>, EngineError> {
    if shared.namespace.root_kind()? == RootKind::Overlay {
        return Ok(Box::new(Stack { lowers: shared.lowers(chain)?.folders, writable }));
    }
    if writable {
        return Ok(Box::new(Copy(obtain::fresh(shared, chain)?)));
    }
    let folder = match shared.folders.share(chain) {
        Some(folder) => folder,
        // A folder of a part of the stack is more useful to the stage that it belongs to.
        None => obtain::fresh(shared, chain)?.share(),
    };
    Ok(Box::new(Whole(folder)))
}

/// The folders of unpacked layers, which stay in the store.
struct Stack {
    /// The newest first.
    lowers: Vec<PathBuf>,
    writable: bool,
}

impl MountFiles for Stack {
    fn source(&self, path: &str) -> ReadySource {
        let (lowers, writable) = (self.lowers.clone(), self.writable);
        ReadySource::Layers { lowers, path: path.to_owned(), writable }
    }
}

/// A folder with all files, which others read, too.
struct Whole(Arc<Folder>);

impl MountFiles for Whole {
    fn source(&self, path: &str) -> ReadySource {
        ReadySource::Tree { folder: self.0.files(), path: path.to_owned(), writable: false }
    }
}

/// A folder with all files that is thrown away.
struct Copy(Held);

impl MountFiles for Copy {
    fn source(&self, path: &str) -> ReadySource {
        ReadySource::Tree { folder: self.0.get().files(), path: path.to_owned(), writable: true }
    }
}
