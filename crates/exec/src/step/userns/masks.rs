//! Hiding parts of a mount, and keeping others from being written.

use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{INERT, attach, open_path};
use crate::mount::{clone_of, restrict};

/// No programs, no devices, and nothing can be written.
pub(super) const READ_ONLY: MountAttrFlags = INERT.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// An empty file and an empty folder, to cover others with.
#[derive(Debug)]
pub(super) struct Blank {
    file: OwnedFd,
    folder: OwnedFd,
}

impl Blank {
    /// Makes an empty file and an empty folder.
    pub fn new(staging: &OwnedFd) -> Result<Self, Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(staging, "blank-file", flags, Mode::from_raw_mode(0o444))?;
        rustix::fs::mkdirat(staging, "blank", Mode::from_raw_mode(0o555))?;
        Ok(Self { file: open_path(staging, "blank-file")?, folder: open_path(staging, "blank")? })
    }

    /// Returns a read-only mount of the folder.
    pub(super) fn folder(&self) -> Result<OwnedFd, std::io::Error> {
        let mount = clone_of(&self.folder, false)?;
        restrict(&mount, READ_ONLY, false)?;
        Ok(mount)
    }

    /// Returns a read-only mount of the file.
    fn file(&self) -> Result<OwnedFd, std::io::Error> {
        let mount = clone_of(&self.file, false)?;
        restrict(&mount, READ_ONLY, false)?;
        Ok(mount)
    }
}

/// Covers files and folders below a mount. Missing ones are skipped.
pub(super) fn mask(mount: &OwnedFd, paths: &[&str], blank: &Blank) -> Result<(), std::io::Error> {
    for path in paths {
        let Some(target) = open_below(mount, path)? else { continue };
        let folder =
            FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
        attach(if folder { blank.folder()? } else { blank.file()? }, target)?;
    }
    Ok(())
}

/// Mounts a part of `mount` over itself, read-only.
pub(super) fn freeze(mount: &OwnedFd, path: &str) -> Result<(), std::io::Error> {
    let Some(target) = open_below(mount, path)? else { return Ok(()) };
    let copy = clone_of(&target, true)?;
    restrict(&copy, READ_ONLY, true)?;
    Ok(attach(copy, target)?)
}

/// Opens a file below a mount as a place; `None` if this kernel does not have the file.
pub(super) fn open_below(mount: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(mount, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
