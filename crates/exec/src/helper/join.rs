//! Joining layers: deep stacks, mounted once for many steps.
//!
//! overlayfs has work to do for each layer of a mount, which makes builds of hundreds of layers
//! slow. The lower part of a stack is therefore mounted by itself, in the namespace that all steps
//! come from, and is one layer of theirs. It begins with the oldest layer: a mount does not pass on
//! the marks by which its layers hide files of others below it.

use rustix::mount::UnmountFlags;
use xbuild_model::TaskFailure;

use crate::error::{RunError, in_words};
use crate::protocol::JoinRequest;
use crate::step::userns::mounts;
use crate::step::userns::overlay::{self, Lowers};

/// The mount's name in error messages.
const WHAT: &str = "layers (overlay)";

/// Does the task.
pub(super) fn task(request: &[u8]) -> Result<Vec<u8>, TaskFailure> {
    let request = serde_json::from_slice(request).map_err(|error| error.to_string())?;
    join(&request).map_err(|error| in_words(&error))?;
    Ok(Vec::new())
}

fn join(JoinRequest { lowers, point }: &JoinRequest) -> Result<(), RunError> {
    let open = |path| mounts::open_trusted(path);
    let folders = lowers.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let newest = lowers.first().map(|path| open(path)).transpose()?;
    overlay::mount(&Lowers { folders, joined: None }, None, &open(point)?, WHAT)?;
    // File systems can be stacked a few times only, and the folders may lie on one that is. The
    // trial finds that out now, before a step does.
    let trial = Lowers { folders: newest.into_iter().collect(), joined: Some(open(point)?) };
    overlay::mount(&trial, None, &open(point)?, WHAT)?;
    rustix::mount::unmount(point, UnmountFlags::DETACH).map_err(RunError::mount(WHAT))
}
