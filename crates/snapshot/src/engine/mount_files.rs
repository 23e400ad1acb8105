//! The files of a stack of layers, for a mount (RUN `--mount=type=bind,from=`).

use std::path::PathBuf;
use std::sync::Arc;

use xbuild_model::Chain;
use xbuild_model::run::ReadySource;
use xbuild_model::seam::MountFiles;

use super::shared::Shared;
use crate::EngineError;

/// Makes the files of `chain` ready.
pub(super) fn hold(
    shared: &Arc<Shared>,
    chain: &Chain,
    writable: bool,
) -> Result<Box<dyn MountFiles>, EngineError> {
    Ok(Box::new(Stack { lowers: shared.lowers(chain)?.folders, writable }))
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
