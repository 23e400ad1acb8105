//! Removing a folder tree of any depth.
//!
//! A tree can be deeper than the stack, the limit of open files and the longest path allow. So it
//! is flattened on the way: folders two levels down move up into the removed folder, until
//! everything in it is one level deep.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::opened::{chmod_handle, list};

/// Removes `name` of the folder `parent` with everything below it. A missing file is not an error.
pub(super) fn tree(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    if remove_one(parent, name)? {
        return Ok(());
    }
    let top = open(parent, name)?;
    let mut moved = 0_u64;
    let mut folders = Vec::new();
    for entry in names(&top)? {
        if !remove_one(top.as_fd(), &entry)? {
            folders.push(entry);
        }
    }
    while let Some(folder) = folders.pop() {
        let inner = open(top.as_fd(), &folder)?;
        for entry in names(&inner)? {
            if remove_one(inner.as_fd(), &entry)? {
                continue;
            }
            // Moving a folder rewrites its `..`, which needs write permission on it.
            drop(open(inner.as_fd(), &entry)?);
            let up = lift(inner.as_fd(), &entry, top.as_fd(), &mut moved)?;
            folders.push(up);
        }
        ignore_absent(rustix::fs::unlinkat(&top, &folder[..], AtFlags::REMOVEDIR))?;
    }
    ignore_absent(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR))
}

/// Removes a file or an empty folder. Returns false for a folder that is not empty.
fn remove_one(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<bool> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        // Linux says ISDIR for a folder, POSIX says PERM.
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Moves a folder up, under a free name.
fn lift(
    from: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    moved: &mut u64,
) -> rustix::io::Result<Vec<u8>> {
    loop {
        let fresh = format!(".removed-{moved}").into_bytes();
        *moved += 1;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        let renamed = match rustix::fs::renameat_with(from, name, to, &fresh[..], flags) {
            // NFS has no flags. A folder takes the place of an empty one only, which goes, too.
            Err(Errno::INVAL) => rustix::fs::renameat(from, name, to, &fresh[..]),
            result => result,
        };
        match renamed {
            Ok(()) => return Ok(fresh),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Opens a folder for listing and writing. Its owner gets missing permissions.
fn open(parent: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(parent, name, flags, Mode::empty());
    let is_writable =
        || rustix::fs::accessat(parent, name, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS);
    match opened {
        Ok(fd) if is_writable().is_ok() => return Ok(fd),
        Ok(_) | Err(Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    let handle_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(parent, name, handle_flags, Mode::empty())?;
    chmod_handle(handle.as_fd(), 0o700)?;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

/// Returns the names in a folder.
fn names(folder: &OwnedFd) -> rustix::io::Result<Vec<Vec<u8>>> {
    Ok(list(folder.try_clone().map_err(|_| Errno::MFILE)?)?
        .into_iter()
        .map(|entry| entry.name)
        .collect())
}

/// Takes "no such file" for success.
fn ignore_absent(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}
