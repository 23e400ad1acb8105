//! Resolving paths part by part, for systems that refuse `openat2`.
//!
//! The kernel gets each part alone and never follows a symbolic link: this walk reads the links and
//! follows their text.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::stat::Stat;

/// Symbolic links on one path, as many as the kernel allows.
const MAX_LINKS: u32 = 40;

/// Opens a relative path without symbolic links and `..`.
pub(super) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
    mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    let mut parts = path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut last = parts.next().unwrap_or(b".");
    let mut folder: Option<OwnedFd> = None;
    for next in parts {
        let here = folder.as_ref().map_or(root, |fd| fd.as_fd());
        folder = Some(step(here, last)?);
        last = next;
    }
    let here = folder.as_ref().map_or(root, |fd| fd.as_fd());
    rustix::fs::openat(here, last, flags | OFlags::NOFOLLOW, mode)
}

/// Opens a path with symbolic links followed as if `root` were `/`. It never makes a file.
pub(super) fn open_in_root(
    root: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    // The remaining parts, the next one last, and the folders passed. A `..` goes back to the
    // folder before, whatever became of it, and not above the root.
    let mut todo: Vec<Vec<u8>> = Vec::new();
    push_parts(&mut todo, path);
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        let here = above.last().map_or(root, |fd| fd.as_fd());
        if part == b".." {
            above.pop();
            continue;
        }
        let handle = rustix::fs::openat(
            here,
            &part[..],
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let kind = Stat::from(rustix::fs::fstat(&handle)?).kind;
        let is_last = todo.is_empty();
        if kind == FileType::Symlink && !(is_last && flags.contains(OFlags::NOFOLLOW)) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&handle, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                above.clear();
            }
            push_parts(&mut todo, &target);
        } else if is_last {
            // Opened by name again, since the handle allows no reading. A link that was put there
            // in between is not followed.
            return rustix::fs::openat(here, &part[..], flags | OFlags::NOFOLLOW, Mode::empty());
        } else if kind == FileType::Directory {
            above.push(handle);
        } else {
            return Err(Errno::NOTDIR);
        }
    }
    let here = above.last().map_or(root, |fd| fd.as_fd());
    rustix::fs::openat(here, ".", flags, Mode::empty())
}

/// Opens a folder by one name, as a handle.
fn step(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    match Stat::from(rustix::fs::fstat(&handle)?).kind {
        FileType::Directory => Ok(handle),
        // The error of the kernel's own walk.
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::NOTDIR),
    }
}

/// Pushes the parts of `path`, the first one last. A trailing slash asks for a folder.
fn push_parts(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let parts = path.split(|&byte| byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let at = todo.len();
    todo.extend(parts.map(<[u8]>::to_vec));
    todo[at..].reverse();
}
