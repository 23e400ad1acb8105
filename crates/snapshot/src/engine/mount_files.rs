//! The files of a stack of layers, for a mount (RUN `--mount=type=bind,from=`).

use std::path::PathBuf;
use std::sync::Arc;

use xbuild_layer::Tree;
use xbuild_model::Chain;
use xbuild_model::owner::{Owner, OwnersBelow};
use xbuild_model::rootfs::RootKind;
use xbuild_model::run::ReadySource;
use xbuild_model::seam::MountFiles;

use super::carried::Folder;
use super::folders::Lowers;
use super::held::Held;
use super::shared::Shared;
use super::{obtain, owners};
use crate::EngineError;

/// Makes the files of `chain` ready.
pub(super) fn hold(
    shared: &Arc<Shared>,
    chain: &Chain,
    writable: bool,
) -> Result<Box<dyn MountFiles>, EngineError> {
    if shared.namespace.root_kind()? == RootKind::Overlay {
        let Lowers { folders: lowers, is_beyond, .. } = shared.lowers(chain)?;
        let special = special(shared, chain, is_beyond)?;
        return Ok(Box::new(Stack { lowers, writable, special }));
    }
    let special = special(shared, chain, true)?;
    if writable {
        return Ok(Box::new(Copy(obtain::fresh(shared, chain)?, special)));
    }
    let folder = match shared.folders.share(chain) {
        Some(folder) => folder,
        // A folder of a part of the stack is more useful to the stage that it belongs to.
        None => obtain::fresh(shared, chain)?.share(),
    };
    Ok(Box::new(Whole(folder, special)))
}

/// The owners of a stack's files that can have no attribute, where they are recorded.
struct Special(Option<(Tree, OwnersBelow)>);

fn special(shared: &Shared, chain: &Chain, is_beyond: bool) -> Result<Special, EngineError> {
    let below = owners::below_layers(shared, is_beyond, || shared.tree(chain))?;
    Ok(Special(match below.filter(|below| !below.special.is_empty()) {
        Some(below) => Some((shared.tree(chain)?, below)),
        None => None,
    }))
}

impl Special {
    /// Returns those of the files at and below a path, which may lead through links.
    fn below(&self, path: &str) -> Vec<(Vec<u8>, Owner)> {
        let Some((tree, below)) = &self.0 else { return Vec::new() };
        let Ok(found) = tree.resolve(path.as_bytes(), true) else { return Vec::new() };
        let top = found.path;
        let inner = |(path, owner): &(Vec<u8>, Owner)| {
            if top.is_empty() {
                return Some((path.clone(), *owner));
            }
            let rest = path.strip_prefix(&top[..])?;
            match rest.strip_prefix(b"/") {
                Some(rest) => Some((rest.to_vec(), *owner)),
                None => rest.is_empty().then(|| (Vec::new(), *owner)),
            }
        };
        below.special.iter().filter_map(inner).collect()
    }
}

/// The folders of unpacked layers, which stay in the store.
struct Stack {
    /// The newest first.
    lowers: Vec<PathBuf>,
    writable: bool,
    special: Special,
}

impl MountFiles for Stack {
    fn source(&self, path: &str) -> ReadySource {
        let (lowers, writable) = (self.lowers.clone(), self.writable);
        ReadySource::Layers { lowers, path: path.to_owned(), writable }
    }

    fn special(&self, path: &str) -> Vec<(Vec<u8>, Owner)> {
        self.special.below(path)
    }
}

/// A folder with all files, which others read, too.
struct Whole(Arc<Folder>, Special);

impl MountFiles for Whole {
    fn source(&self, path: &str) -> ReadySource {
        ReadySource::Tree { folder: self.0.files(), path: path.to_owned(), writable: false }
    }

    fn special(&self, path: &str) -> Vec<(Vec<u8>, Owner)> {
        self.1.below(path)
    }
}

/// A folder with all files that is thrown away.
struct Copy(Held, Special);

impl MountFiles for Copy {
    fn source(&self, path: &str) -> ReadySource {
        ReadySource::Tree { folder: self.0.get().files(), path: path.to_owned(), writable: true }
    }

    fn special(&self, path: &str) -> Vec<(Vec<u8>, Owner)> {
        self.1.below(path)
    }
}
