//! Folders and pipes of a task's request.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use xbuild_files::Root;
use xbuild_model::ids::{GuestGid, GuestUid};

use crate::TaskError;

/// Bytes buffered between a pipe and the tar reader or writer: the size of a pipe.
pub(crate) const BUFFER: usize = 64 << 10;

/// Opens a folder by its trusted path.
pub(crate) fn open(path: &Path) -> Result<Root, TaskError> {
    Root::open(path).map_err(folder("open", path))
}

/// Returns the only pipe.
pub(crate) fn pipe(fds: Vec<OwnedFd>) -> Result<OwnedFd, TaskError> {
    fds.into_iter().next().ok_or(TaskError::NoPipe)
}

/// Returns the error of an action on a folder or file.
pub(crate) fn folder(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TaskError {
    let path = path.to_owned();
    move |source| TaskError::Folder { action, path, source }
}

/// Returns the ids of this process: root's in the namespace.
pub(crate) fn own_ids() -> (GuestUid, GuestGid) {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    (GuestUid::new(uid.as_raw()), GuestGid::new(gid.as_raw()))
}

/// Returns the mode and owner that the root folder had before a command.
pub(crate) fn root_before(
    mode: u32,
    owner: Option<(u32, u32)>,
    is_recorded: bool,
) -> (u32, u32, u32) {
    let (uid, gid) = own_ids();
    let root = if is_recorded { (0, 0) } else { (uid.raw(), gid.raw()) };
    let (uid, gid) = owner.unwrap_or(root);
    (mode, uid, gid)
}
