//! Mount points that a step's image lacks: made before the step, gone after it.
//!
//! Making one changes the folder around it, and overlayfs copies that folder up. After the step all
//! of this is undone in the folder of changes, so that the layer does not tell.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::step::walk::{self, Made, Missing};

/// What was made for a step.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stubs {
    /// The files and folders, outer ones first.
    made: Vec<Stub>,
    /// The folders that were copied up because of it, outer ones first.
    parents: Vec<Parent>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stub {
    path: Vec<u8>,
    folder: bool,
    inode: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Parent {
    path: Vec<u8>,
    inode: u64,
    /// When the inode last changed: seconds, nanoseconds.
    changed: (i64, i64),
    mode: u32,
}

/// Notes what is made.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    made: Vec<(Vec<u8>, bool)>,
}

impl Recorder {
    /// Notes that `made` was made by one look-up below `root`, and sets the clock of the folder
    /// around it back.
    pub fn add(&mut self, root: BorrowedFd<'_>, made: Vec<Made>) -> Result<(), Errno> {
        if let Some(outermost) = made.first() {
            let parent = walk::locate(root, parent_path(&outermost.path), Missing::Fail)?;
            set_mtime(&parent.fd, outermost.parent_mtime)?;
        }
        self.made.extend(made.into_iter().map(|made| (made.path, made.folder)));
        Ok(())
    }

    /// Returns what to undo, by looking at what the folder of changes now has. What was made on
    /// other file systems, such as that of `/dev`, goes by itself.
    pub fn finish(self, upper: BorrowedFd<'_>) -> Result<Stubs, Errno> {
        let mut stubs = Stubs::default();
        let mut parents = BTreeSet::new();
        let own: BTreeSet<_> = self.made.iter().map(|(path, _)| path.clone()).collect();
        for (path, folder) in self.made {
            let Some(stat) = stat_below(upper, &path)? else { continue };
            let mut parent = parent_path(&path);
            while !parent.is_empty() && !own.contains(parent) {
                parents.insert(parent.to_vec());
                parent = parent_path(parent);
            }
            stubs.made.push(Stub { path, folder, inode: stat.st_ino });
        }
        // Sorted by path, so that outer folders come first.
        for path in parents {
            let Some(stat) = stat_below(upper, &path)? else { continue };
            stubs.parents.push(Parent {
                path,
                inode: stat.st_ino,
                changed: changed(&stat),
                mode: stat.st_mode,
            });
        }
        Ok(stubs)
    }
}

impl Stubs {
    /// Returns whether there is nothing to undo.
    pub fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Takes away from the folder of changes what is still as it was made: mount points that are
    /// empty, folders that nothing but their making changed.
    pub fn remove(&self, upper: &Path) -> Result<(), RunError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let upper = rustix::fs::open(upper, flags, Mode::empty())
            .map_err(RunError::setup("open the folder of changes"))?;
        self.remove_below(upper.as_fd())
            .map_err(RunError::setup("remove mount points from the folder of changes"))
    }

    fn remove_below(&self, upper: BorrowedFd<'_>) -> Result<(), Errno> {
        let mut untouched = Vec::new();
        for parent in &self.parents {
            // Whatever the command did to the folder changed this time.
            let same = |stat: Stat| {
                (stat.st_ino, stat.st_mode, changed(&stat))
                    == (parent.inode, parent.mode, parent.changed)
            };
            if stat_below(upper, &parent.path)?.is_some_and(same) {
                untouched.push(&parent.path);
            }
        }
        for stub in self.made.iter().rev() {
            let stat = stat_below(upper, &stub.path)?;
            if stat.is_some_and(|stat| stub.is(&stat)) {
                unlink(upper, &stub.path, stub.folder)?;
            }
        }
        untouched.into_iter().rev().try_for_each(|path| unlink(upper, path, true))
    }
}

impl Stub {
    fn is(&self, stat: &Stat) -> bool {
        let kind = FileType::from_raw_mode(stat.st_mode);
        let expected = if self.folder { FileType::Directory } else { FileType::RegularFile };
        stat.st_ino == self.inode && kind == expected && (self.folder || stat.st_size == 0)
    }
}

/// Removes a file or an empty folder; a folder that is not empty stays. The clock of the folder
/// around it is not moved.
fn unlink(upper: BorrowedFd<'_>, path: &[u8], folder: bool) -> Result<(), Errno> {
    let Some(parent) = open_below(upper, parent_path(path))? else { return Ok(()) };
    let before = walk::mtime(&rustix::fs::fstat(&parent)?);
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(&parent, name, flags) {
        Ok(()) => set_mtime(&parent, before),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn parent_path(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(b"", |slash| &path[..slash])
}

fn changed(stat: &Stat) -> (i64, i64) {
    // The kernel's nanoseconds are unsigned on some architectures.
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

fn set_mtime(fd: &OwnedFd, mtime: Timespec) -> Result<(), Errno> {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: mtime };
    rustix::fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH)
}

fn stat_below(upper: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, Errno> {
    open_below(upper, path)?.map(rustix::fs::fstat).transpose()
}

/// Opens a path without following any symbolic link, or finds that there is none.
fn open_below(upper: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let path = if path.is_empty() { b"." } else { path };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(upper, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    /// Makes `paths` in a folder that stands for both the root and the folder of changes.
    fn make(folder: &Path, paths: &[&str]) -> Stubs {
        let root = File::open(folder).unwrap();
        let mut recorder = Recorder::default();
        for path in paths {
            let place = walk::locate(root.as_fd(), path.as_bytes(), Missing::MakeFile).unwrap();
            recorder.add(root.as_fd(), place.made).unwrap();
        }
        recorder.finish(root.as_fd()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let before = fs::metadata(folder.path()).unwrap();
        let stubs = make(folder.path(), &["/etc/hosts", "/etc/resolv.conf", "/run/a/b"]);
        assert_eq!(stubs.made.len(), 5);
        let during = fs::metadata(folder.path()).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (during.mtime(), during.mtime_nsec()));
        stubs.remove(folder.path()).unwrap();
        assert!(names(folder.path()).is_empty());
        let after = fs::metadata(folder.path()).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    }

    #[test]
    fn keeps_what_the_command_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let stubs = make(folder.path(), &["/etc/hosts", "/run/a/b", "/srv/x"]);
        fs::write(folder.path().join("etc/own"), "x").unwrap();
        fs::write(folder.path().join("run/a/b"), "x").unwrap();
        fs::remove_dir_all(folder.path().join("srv")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("srv")).unwrap();
        stubs.remove(folder.path()).unwrap();
        assert_eq!(names(&folder.path().join("etc")), ["own"]);
        assert_eq!(names(&folder.path().join("run/a")), ["b"]);
        assert_eq!(names(outside.path()), ["x"]);
    }
}
