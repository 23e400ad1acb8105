//! Removing folder trees that may hold files of other owners.

use std::path::PathBuf;
use std::sync::Arc;

use xbuild_model::seam::Namespace;
use xbuild_model::{FailureKind, StepFailure};
use xbuild_store::{Background, TempFolder};

use crate::TaskError;
use crate::tasks::{REMOVE, RemoveRequest, remove_path};

/// Removes the trees at trusted paths: first as plain user, then the rest inside the user
/// namespace, which is started if needed. A missing tree is not an error.
pub fn trees(namespace: &dyn Namespace, paths: &[PathBuf]) -> Result<(), StepFailure> {
    let left: Vec<PathBuf> =
        paths.iter().filter(|path| remove_path(path).is_err()).cloned().collect();
    if left.is_empty() {
        return Ok(());
    }
    let request = serde_json::to_vec(&RemoveRequest { paths: left })
        .map_err(|source| StepFailure::new(FailureKind::Internal, TaskError::Request { source }))?;
    namespace.start(REMOVE, request, Vec::new())?.wait()?;
    Ok(())
}

/// Returns a sweeper of temporary folders, which works on a thread so that the next step need not
/// wait. Files that a plain user cannot remove are removed through `namespace`.
pub(crate) fn sweeper(namespace: Arc<dyn Namespace>) -> Background<TempFolder> {
    Background::new("sweep", move |folder: TempFolder| {
        // After a failure the folder stays, as after a kill: the next prune of the store removes
        // it.
        let _ = trees(&*namespace, &[folder.path().to_owned()]);
    })
}
