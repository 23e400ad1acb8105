//! Hiding parts of a mount, and keeping others from being written.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::attributes::attach_with;
use super::mounts::{INERT, open_path};
use crate::mount::clone_of;
use crate::step::walk;

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

    /// Covers a folder with the empty one, read-only.
    pub(super) fn cover_folder(&self, target: &OwnedFd) -> Result<(), std::io::Error> {
        attach_with(&clone_of(&self.folder, false)?, target, READ_ONLY, false)
    }

    /// Covers a file with the empty one, read-only.
    fn cover_file(&self, target: &OwnedFd) -> Result<(), std::io::Error> {
        attach_with(&clone_of(&self.file, false)?, target, READ_ONLY, false)
    }
}

/// Covers files and folders below a mount. Missing ones are skipped.
pub(super) fn mask(mount: &OwnedFd, paths: &[&str], blank: &Blank) -> Result<(), std::io::Error> {
    for path in paths {
        let Some(target) = open_below(mount, path)? else { continue };
        let folder =
            FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
        if folder { blank.cover_folder(&target)? } else { blank.cover_file(&target)? }
    }
    Ok(())
}

/// Mounts a part of `mount` over itself, read-only.
pub(super) fn freeze(mount: &OwnedFd, path: &str) -> Result<(), std::io::Error> {
    let Some(target) = open_below(mount, path)? else { return Ok(()) };
    attach_with(&clone_of(&target, true)?, &target, READ_ONLY, true)
}

/// Opens a file below a mount as a place; `None` if this kernel does not have the file.
pub(super) fn open_below(mount: &OwnedFd, path: &str) -> Result<Option<OwnedFd>, Errno> {
    match walk::open_beneath(mount.as_fd(), path.as_bytes()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
