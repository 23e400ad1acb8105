//! Layers of deep stacks, mounted once for many steps.
//!
//! What overlayfs does for each layer below a mount makes builds of hundreds of layers slow. The
//! lower part of a stack is therefore mounted by itself, in the namespace that all steps come from,
//! and is one layer of theirs. It begins with the oldest layer: a mount does not pass on what its
//! layers say about others below it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;
use serde::{Deserialize, Serialize};

use super::serve;
use crate::error::RunError;
use crate::mount;
use crate::step::userns::overlay::{self, Lowers};
use crate::step::userns::root;

/// The name of the task, which is done in the build's mount namespace.
pub(crate) const TASK: &str = "exec.join";

/// What the mount is called in error messages.
const WHAT: &str = "layers (overlay)";

/// See [`xbuild_model::seam::Namespace::join`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) point: PathBuf,
}

/// Does the task.
pub(crate) fn task(request: &[u8]) -> Result<Vec<u8>, String> {
    let request = serde_json::from_slice(request).map_err(|error| error.to_string())?;
    join(&request).map_err(|error| serve::in_words(&error))?;
    Ok(Vec::new())
}

fn join(Request { lowers, point }: &Request) -> Result<(), RunError> {
    let folders = lowers.iter().map(|path| root::open(path)).collect::<Result<Vec<_>, _>>()?;
    let newest = lowers.first().map(|path| root::open(path)).transpose()?;
    overlay::mount(&Lowers { folders, joined: None }, None, &root::open(point)?, WHAT)?;
    // File systems can be stacked a few times only, and the folders may be on one that is. Steps
    // shall not find that out.
    let joined = root::open(point)?;
    let trial = Lowers { folders: newest.into_iter().collect(), joined: Some(joined) };
    overlay::mount(&trial, None, &root::open(point)?, WHAT)?;
    rustix::mount::unmount(point, UnmountFlags::DETACH).map_err(RunError::mount(WHAT))
}

/// Returns a second mount of what is joined at `point`, mounted nowhere yet: only what is in a
/// step's own namespace can be a layer there.
pub(crate) fn copy(point: &Path) -> Result<OwnedFd, RunError> {
    mount::clone_of(root::open(point)?, false).map_err(RunError::mount(WHAT))
}
