//! The path primitive: a folder's handle, below which everything happens.
//!
//! All work on a layer, context or stage tree goes through a [`Root`]. Its operations take paths
//! *relative to the handle* and are anchored at its file descriptor. So nothing leads out of the
//! tree: no `..`, no absolute path, no symbolic link, and no folder that somebody swaps for a link
//! at the wrong moment. There are two ways to read a path, and the caller chooses:
//!
//! - *beneath* (all methods but two): no part may be a symbolic link, and a link at the end stands
//!   for itself. For paths that come from a walk or a layer.
//! - *in root* ([`Root::open_in_root`], [`Root::resolve_in_root`]): symbolic links are followed as
//!   if the handle were `/`. For paths that a user wrote.
//!
//! **Source** — `openat2(2)`. Kernels and sandboxes without it get a walk by hand.

mod attributes;
mod hand;
mod opened;
mod remove;
mod stat;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use xbuild_layer::Mtime;

pub(crate) use attributes::{
    Attributes, Marks, attribute_names, attributes, reduce, remove, set_mode,
};
pub(crate) use opened::xattr;
use opened::{chmod_handle, list};
pub use stat::{DirEntry, Stat};

/// The most calls of `openat2` for one path while the tree changes.
const MAX_RACES: u32 = 64;

/// A handle of a folder; see the module.
#[derive(Debug)]
pub struct Root {
    fd: OwnedFd,
    walk: Walk,
}

/// How paths are resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    /// By `openat2`.
    Kernel,
    /// Part by part.
    Hand,
}

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Root {
    /// Opens the folder at `path`, which is trusted: the kernel resolves it as usual, with symbolic
    /// links.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self::from_fd(rustix::fs::openat(CWD, path, flags, Mode::empty())?))
    }

    /// Wraps the descriptor of a folder. `O_PATH` is enough.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd, walk: Walk::probe() }
    }

    /// Returns a second handle of the same folder.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, walk: self.walk })
    }

    /// Opens `path` beneath this folder. No part of it may be a symbolic link. The empty path is
    /// the folder itself.
    ///
    /// **Errors** — `ELOOP` for a symbolic link, unless it is the last part and `flags` have both
    /// `PATH` and `NOFOLLOW`; `EXDEV` for a `..` or an absolute path; all errors of `open(2)`.
    pub fn openat(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        Ok(self.beneath(path, flags, Mode::empty())?)
    }

    /// Opens `path` with symbolic links followed as if this folder were `/`.
    pub fn open_in_root(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let path = if path.is_empty() { b"." } else { path };
        match self.walk {
            Walk::Kernel => {
                Ok(retry(|| rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve))?)
            }
            Walk::Hand => Ok(hand::open_in_root(self.fd.as_fd(), path, flags)?),
        }
    }

    /// Returns a handle of the folder `path`, with symbolic links followed as if this folder
    /// were `/`.
    pub fn resolve_in_root(&self, path: &[u8]) -> io::Result<Self> {
        let fd = self.open_in_root(path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Self { fd, walk: self.walk })
    }

    /// Returns a handle of the folder `path` beneath this one.
    pub fn dir(&self, path: &[u8]) -> io::Result<Self> {
        if path.is_empty() {
            return self.try_clone();
        }
        let fd = self.beneath(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
        Ok(Self { fd, walk: self.walk })
    }

    /// Opens the regular file `path` for reading.
    ///
    /// **Errors** — `EINVAL` for any other kind of file. Opening it had no effect.
    pub fn open_file(&self, path: &[u8]) -> io::Result<File> {
        self.open_file_with_stat(path).map(|(file, _)| file)
    }

    /// Does the same, and returns the file's stat.
    pub fn open_file_with_stat(&self, path: &[u8]) -> io::Result<(File, Stat)> {
        // Without NONBLOCK, a named pipe would block here. A regular file ignores it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.beneath(path, flags, Mode::empty())?;
        let stat = Stat::from(rustix::fs::fstat(&fd)?);
        if !stat.is_file() {
            return Err(Errno::INVAL.into());
        }
        Ok((File::from(fd), stat))
    }

    /// Makes the regular file `path` and opens it for writing. The file must not exist. The
    /// process's umask applies to `mode`.
    pub fn create_new(&self, path: &[u8], mode: u32) -> io::Result<File> {
        self.last(path, |dir, name| {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(mode)).map(File::from)
        })
    }

    /// Returns whether new files in this folder get exactly the requested mode: there is no umask
    /// and no default access list. In doubt the answer is no.
    pub fn keeps_modes(&self) -> bool {
        let mode = Mode::from_raw_mode(0o777);
        let made = self.beneath(b".", OFlags::TMPFILE | OFlags::WRONLY, mode);
        let stat = made.and_then(rustix::fs::fstat);
        stat.is_ok_and(|stat| Stat::from(stat).mode & 0o7777 == 0o777)
    }

    /// Makes the folder `path`. The process's umask applies to `mode`.
    pub fn mkdir(&self, path: &[u8], mode: u32) -> io::Result<()> {
        self.last(path, |dir, name| rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)))
    }

    /// Makes the symbolic link `path` with the text `target`.
    pub fn symlink(&self, target: &[u8], path: &[u8]) -> io::Result<()> {
        self.last(path, |dir, name| rustix::fs::symlinkat(target, dir, name))
    }

    /// Gives the file `existing` the further name `path`. A symbolic link itself gets the name.
    pub fn link(&self, existing: &[u8], path: &[u8]) -> io::Result<()> {
        let (from, from_name) = self.parent(existing)?;
        self.last(path, |dir, name| {
            rustix::fs::linkat(from.as_fd(), from_name, dir, name, AtFlags::empty())
        })
    }

    /// Makes the device node, named pipe or socket `path`. The process's umask applies to `mode`.
    pub fn mknod(&self, path: &[u8], kind: FileType, mode: u32, dev: (u32, u32)) -> io::Result<()> {
        let device = rustix::fs::makedev(dev.0, dev.1);
        self.last(path, |dir, name| {
            rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(mode), device)
        })
    }

    /// Moves `from` to `to`, and replaces a file there as `rename(2)` does.
    pub fn rename(&self, from: &[u8], to: &[u8]) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        self.last(to, |dir, name| rustix::fs::renameat(from_dir.as_fd(), from_name, dir, name))
    }

    /// Removes the file `path`, which is not a folder.
    pub fn unlink(&self, path: &[u8]) -> io::Result<()> {
        self.last(path, |dir, name| rustix::fs::unlinkat(dir, name, AtFlags::empty()))
    }

    /// Removes the empty folder `path`.
    pub fn rmdir(&self, path: &[u8]) -> io::Result<()> {
        self.last(path, |dir, name| rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))
    }

    /// Removes `path` and everything below it. A missing file is not an error. Symbolic links are
    /// removed, never followed. The depth is not limited: neither stack nor descriptors grow with
    /// it.
    ///
    /// **Errors** — leave the rest of the tree, possibly under other names.
    pub fn remove_tree(&self, path: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(path)?;
        Ok(remove::tree(dir.as_fd(), name)?)
    }

    /// Returns the stat of `path`. A symbolic link is not followed.
    pub fn stat(&self, path: &[u8]) -> io::Result<Stat> {
        if path.is_empty() {
            return Ok(rustix::fs::fstat(&self.fd)?.into());
        }
        self.last(path, |dir, name| {
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map(Stat::from)
        })
    }

    /// Like [`stat`](Self::stat), but returns `None` if there is no such file.
    pub fn try_stat(&self, path: &[u8]) -> io::Result<Option<Stat>> {
        match self.stat(path) {
            Ok(stat) => Ok(Some(stat)),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the text of the symbolic link `path`.
    pub fn readlink(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        self.last(path, |dir, name| {
            rustix::fs::readlinkat(dir, name, Vec::new()).map(|text| text.into_bytes())
        })
    }

    /// Returns the names in the folder `path`, in the order of the file system.
    pub fn read_dir(&self, path: &[u8]) -> io::Result<Vec<DirEntry>> {
        let path = if path.is_empty() { b"." } else { path };
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(list(fd)?)
    }

    /// Gives `path` to an owner. A symbolic link is not followed.
    pub fn chown(&self, path: &[u8], uid: u32, gid: u32) -> io::Result<()> {
        let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        self.last_or_self(path, |dir, name, flags| {
            rustix::fs::chownat(dir, name, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW | flags)
        })
    }

    /// Sets the permission bits of `path`.
    ///
    /// **Errors** — `ELOOP` for a symbolic link, which has no permission bits.
    pub fn chmod(&self, path: &[u8], mode: u32) -> io::Result<()> {
        let handle = self.beneath(path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        Ok(chmod_handle(handle.as_fd(), mode)?)
    }

    /// Sets the access and modification time of `path`. A symbolic link is not followed.
    pub fn set_mtime(&self, path: &[u8], mtime: Mtime) -> io::Result<()> {
        let times = timestamps(mtime);
        self.last_or_self(path, |dir, name, flags| {
            rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW | flags)
        })
    }

    /// Returns an extended attribute of a regular file or folder; `None` if it is not set, or if
    /// the file system has no attributes.
    pub fn xattr(&self, path: &[u8], name: &str) -> io::Result<Option<Vec<u8>>> {
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        Ok(xattr(fd.as_fd(), name)?)
    }

    /// Sets an extended attribute of a regular file or folder.
    pub fn set_xattr(&self, path: &[u8], name: &str, value: &[u8]) -> io::Result<()> {
        let fd = self.beneath(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        Ok(rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty())?)
    }

    /// Writes all unwritten data of this folder's file system to the disk.
    pub fn sync_file_system(&self) -> io::Result<()> {
        let fd = self.beneath(b".", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok(rustix::fs::syncfs(fd)?)
    }

    /// Opens a path without symbolic links. Only `PATH | NOFOLLOW` allows a link at the end.
    fn beneath(&self, path: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        let path = if path.is_empty() { b"." } else { path };
        // The kernel would allow `a/..`. Nobody here needs it, and both walks must agree.
        if path.starts_with(b"/") || path.split(|&byte| byte == b'/').any(|part| part == b"..") {
            return Err(Errno::XDEV);
        }
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match self.walk {
            Walk::Kernel => retry(|| rustix::fs::openat2(&self.fd, path, flags, mode, resolve)),
            Walk::Hand => hand::open_beneath(self.fd.as_fd(), path, flags, mode),
        }
    }

    /// Splits off the last part of `path` and opens the folder before it.
    fn parent<'a>(&self, path: &'a [u8]) -> rustix::io::Result<(Parent<'_>, &'a [u8])> {
        let (before, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b""[..], path),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(Errno::INVAL);
        }
        let parent = match before {
            b"" if path.starts_with(b"/") => return Err(Errno::XDEV),
            b"" => Parent::This(self.fd.as_fd()),
            _ => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                Parent::Opened(self.beneath(before, flags, Mode::empty())?)
            }
        };
        Ok((parent, name))
    }

    /// Calls `act` with the last part of `path` and its opened folder.
    fn last<T>(
        &self,
        path: &[u8],
        act: impl FnOnce(BorrowedFd<'_>, &[u8]) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        let (parent, name) = self.parent(path)?;
        Ok(act(parent.as_fd(), name)?)
    }

    /// Like [`last`](Self::last); the empty path is this folder.
    fn last_or_self<T>(
        &self,
        path: &[u8],
        act: impl FnOnce(BorrowedFd<'_>, &[u8], AtFlags) -> rustix::io::Result<T>,
    ) -> io::Result<T> {
        if path.is_empty() {
            return Ok(act(self.fd.as_fd(), b"", AtFlags::EMPTY_PATH)?);
        }
        self.last(path, |dir, name| act(dir, name, AtFlags::empty()))
    }
}

/// The folder of the last part of a path.
enum Parent<'a> {
    /// The root itself.
    This(BorrowedFd<'a>),
    /// A folder below it.
    Opened(OwnedFd),
}

impl Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::This(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Walk {
    /// Finds out once whether `openat2` works: old kernels lack it, old sandboxes refuse it.
    fn probe() -> Self {
        static FOUND: OnceLock<Walk> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            match rustix::fs::openat2(CWD, ".", flags, Mode::empty(), ResolveFlags::empty()) {
                Err(Errno::NOSYS | Errno::PERM) => Self::Hand,
                _ => Self::Kernel,
            }
        })
    }
}

/// Returns whether an error says that there is no such file.
pub(crate) fn absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}

/// Returns the times for `utimensat`. The access time equals the modification time, so that
/// unpacking is repeatable.
pub(crate) fn timestamps(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Calls again while the kernel reports that the tree has changed.
fn retry(mut call: impl FnMut() -> rustix::io::Result<OwnedFd>) -> rustix::io::Result<OwnedFd> {
    for _ in 0..MAX_RACES {
        match call() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}
