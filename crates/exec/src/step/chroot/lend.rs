//! Lending a cache folder of the store to a root, where it cannot be mounted.
//!
//! An empty folder takes its place, and the link `lent` beside that says where it went: if xbuild is
//! killed meanwhile, the store takes the folder back from there.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::run::LENT;

/// A cache folder that is somewhere else. It is locked for this process.
#[derive(Debug)]
pub(super) struct Lent {
    /// The folder around it.
    home: OwnedFd,
    name: Vec<u8>,
    _lock: File,
}

impl Lent {
    /// Moves the folder at `path` to `name` in the room, and waits until no other step has it.
    pub(super) fn take(path: &Path, room: &OwnedFd, name: &str) -> Result<Self, Errno> {
        let (around, own) = path.parent().zip(path.file_name()).ok_or(Errno::INVAL)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let home = rustix::fs::open(around, flags, Mode::empty())?;
        // The folder itself changes places, so its home is what gets locked.
        let lock = rustix::fs::openat(&home, ".", flags, Mode::empty())?;
        retry_on_intr(|| rustix::fs::flock(&lock, FlockOperation::LockExclusive))?;
        let own = own.as_bytes().to_vec();
        let stat = rustix::fs::statat(&home, &own[..], AtFlags::SYMLINK_NOFOLLOW)?;
        rustix::fs::mkdirat(room, name, Mode::from_raw_mode(0o700))?;
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        rustix::fs::chownat(room, name, Some(uid), Some(gid), AtFlags::empty())?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(room, name, mode, AtFlags::empty())?;
        let lent = Self { home, name: own, _lock: lock.into() };
        let mut place = path_of(room)?;
        place.extend_from_slice(b"/");
        place.extend_from_slice(name.as_bytes());
        lent.note(&place)?;
        match lent.exchange(room, name) {
            Ok(()) => Ok(lent),
            Err(errno) => {
                rustix::fs::unlinkat(&lent.home, LENT, AtFlags::empty())?;
                Err(errno)
            }
        }
    }

    /// Takes note of where the folder is now.
    pub(super) fn is_at(&self, file: &OwnedFd) -> Result<(), Errno> {
        self.note(&path_of(file)?)
    }

    fn note(&self, place: &[u8]) -> Result<(), Errno> {
        match rustix::fs::unlinkat(&self.home, LENT, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => rustix::fs::symlinkat(place, &self.home, LENT),
            Err(errno) => Err(errno),
        }
    }

    /// Puts the folder `name` of the room back. `None` if the command removed it: then it is empty
    /// from now on.
    pub(super) fn give_back(self, room: &OwnedFd, name: Option<&str>) -> Result<(), Errno> {
        if let Some(name) = name {
            self.exchange(room, name)?;
        }
        rustix::fs::unlinkat(&self.home, LENT, AtFlags::empty())
    }

    fn exchange(&self, room: &OwnedFd, name: &str) -> Result<(), Errno> {
        let (home, own) = (self.home.as_fd(), &self.name[..]);
        rustix::fs::renameat_with(home, own, room, name, RenameFlags::EXCHANGE)
    }
}

/// Returns the path of an open file.
pub(super) fn path_of(file: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes())
}

/// Sorts the paths of cache folders into the order in which all steps take them, so that no two steps
/// wait for each other.
pub(super) fn order(paths: &mut [(usize, PathBuf)]) {
    paths.sort_by(|a, b| a.1.cmp(&b.1));
}
