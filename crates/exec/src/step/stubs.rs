//! Mount points that a step's image lacks: made before the step, removed after it.
//!
//! Making one changes the folder around it, and overlayfs copies that folder up. After the step all
//! of this is undone in the folder of changes, so that the layer shows no trace of it. If the root
//! is a folder, the folders around it are the image's own and stay.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;
use xbuild_model::rootfs::RootFs;

use super::walk::{self, Made, Missing};
use crate::error::RunError;
use crate::protocol::{CopiedUp, Stub, Stubs};

/// Takes note of the mount points that are made.
#[derive(Debug)]
pub(super) struct Recorder {
    /// Whether the folder of changes has all files of the image.
    has_all: bool,
    made: Vec<Made>,
}

impl Recorder {
    /// Returns a recorder for mount points below a root.
    pub(super) fn new(root: &RootFs) -> Self {
        Self { has_all: matches!(root, RootFs::Folder(_)), made: Vec::new() }
    }

    /// Takes note of the files that one look-up below `root` made, and sets the modification time of
    /// the folder around them back.
    pub(super) fn add(&mut self, root: BorrowedFd<'_>, made: Vec<Made>) -> Result<(), Errno> {
        if let Some(outermost) = made.first() {
            let around = walk::locate(root, folder_of(&outermost.path), Missing::Fail)?;
            set_mtime(&around.fd, outermost.folder_mtime)?;
        }
        self.made.extend(made);
        Ok(())
    }

    /// Returns the mount points in a root that is a folder, as they were made.
    pub(super) fn into_stubs(self) -> Stubs {
        let stub = |Made { path, folder, id: (_, inode), .. }| Stub { path, folder, inode };
        Stubs { made: self.made.into_iter().map(stub).collect(), copied_up: Vec::new() }
    }

    /// Returns the changes to undo, read from the folder of changes as it is now. Mount points on
    /// other file systems, such as that of `/dev`, need no undoing, even if the image has a file of
    /// that name.
    pub(super) fn finish(self, upper: BorrowedFd<'_>) -> Result<Stubs, Errno> {
        let mut stubs = Stubs::default();
        let mut around = BTreeSet::new();
        let own: BTreeSet<_> = self.made.iter().map(|made| made.path.clone()).collect();
        for Made { path, folder, id, .. } in self.made {
            let Some(stat) = stat_below(upper, &path)? else { continue };
            if self.has_all && walk::id(&stat) != id {
                continue;
            }
            let mut outer = folder_of(&path);
            while !self.has_all && !outer.is_empty() && !own.contains(outer) {
                around.insert(outer.to_vec());
                outer = folder_of(outer);
            }
            stubs.made.push(Stub { path, folder, inode: stat.st_ino });
        }
        // Sorted by path, so that outer folders come first.
        for path in around {
            let Some(stat) = stat_below(upper, &path)? else { continue };
            stubs.copied_up.push(CopiedUp {
                path,
                inode: stat.st_ino,
                changed: changed(&stat),
                mode: stat.st_mode,
            });
        }
        Ok(stubs)
    }
}

/// Removes everything from the folder of changes that is still as it was made: empty mount points,
/// and folders without any other change.
pub(super) fn remove(stubs: &Stubs, upper: &Path) -> Result<(), RunError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let upper = rustix::fs::open(upper, flags, Mode::empty())
        .map_err(RunError::setup("open the folder of changes"))?;
    remove_below(stubs, upper.as_fd())
        .map_err(RunError::setup("remove mount points from the folder of changes"))
}

fn remove_below(stubs: &Stubs, upper: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut untouched = Vec::new();
    for folder in &stubs.copied_up {
        // Everything that a command can do to a folder moves this time.
        let same = |stat: Stat| {
            (stat.st_ino, stat.st_mode, changed(&stat))
                == (folder.inode, folder.mode, folder.changed)
        };
        if stat_below(upper, &folder.path)?.is_some_and(same) {
            untouched.push(&folder.path);
        }
    }
    for stub in stubs.made.iter().rev() {
        let stat = stat_below(upper, &stub.path)?;
        if stat.is_some_and(|stat| is_as_made(stub, &stat)) {
            unlink(upper, &stub.path, stub.folder)?;
        }
    }
    untouched.into_iter().rev().try_for_each(|path| unlink(upper, path, true))
}

fn is_as_made(stub: &Stub, stat: &Stat) -> bool {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let expected = if stub.folder { FileType::Directory } else { FileType::RegularFile };
    stat.st_ino == stub.inode && kind == expected && (stub.folder || stat.st_size == 0)
}

/// Removes a file or an empty folder; a folder that is not empty stays. The folder around it keeps
/// its modification time.
fn unlink(upper: BorrowedFd<'_>, path: &[u8], folder: bool) -> Result<(), Errno> {
    let Some(around) = open_below(upper, folder_of(path))? else { return Ok(()) };
    let before = walk::mtime(&rustix::fs::fstat(&around)?);
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    let flags = if folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    match rustix::fs::unlinkat(&around, name, flags) {
        Ok(()) => set_mtime(&around, before),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn folder_of(path: &[u8]) -> &[u8] {
    path.iter().rposition(|b| *b == b'/').map_or(b"", |slash| &path[..slash])
}

fn changed(stat: &Stat) -> (i64, i64) {
    // The kernel's nanoseconds are unsigned on some architectures.
    (stat.st_ctime, i64::try_from(stat.st_ctime_nsec).unwrap_or(0))
}

pub(super) fn set_mtime(fd: &OwnedFd, mtime: Timespec) -> Result<(), Errno> {
    let omit = Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT };
    let times = Timestamps { last_access: omit, last_modification: mtime };
    rustix::fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH)
}

fn stat_below(upper: BorrowedFd<'_>, path: &[u8]) -> Result<Option<Stat>, Errno> {
    open_below(upper, path)?.map(rustix::fs::fstat).transpose()
}

/// Opens a path without following any symbolic link; `None` if it does not exist.
fn open_below(upper: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    match walk::open_beneath(upper, path) {
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
    fn make(folder: &Path, has_all: bool, paths: &[&str]) -> Stubs {
        let root = File::open(folder).unwrap();
        let mut recorder = Recorder { has_all, made: Vec::new() };
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
        let stubs = make(folder.path(), false, &["/etc/hosts", "/etc/resolv.conf", "/run/a/b"]);
        assert_eq!(stubs.made.len(), 5);
        let during = fs::metadata(folder.path()).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (during.mtime(), during.mtime_nsec()));
        remove(&stubs, folder.path()).unwrap();
        assert!(names(folder.path()).is_empty());
        let after = fs::metadata(folder.path()).unwrap();
        assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    }

    #[test]
    fn folders_of_an_image_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("mnt/empty")).unwrap();
        fs::write(folder.path().join("device"), "").unwrap();
        let times = |name: &str| {
            let meta = fs::metadata(folder.path().join(name)).unwrap();
            (meta.mtime(), meta.mtime_nsec())
        };
        let before = ["", "mnt", "mnt/empty"].map(times);
        // The last one was made on another file system, which hides a file of the image.
        let mut recorder = Recorder { has_all: true, made: Vec::new() };
        let root = File::open(folder.path()).unwrap();
        let place = walk::locate(root.as_fd(), b"/mnt/empty/a/b", Missing::MakeFile).unwrap();
        recorder.add(root.as_fd(), place.made).unwrap();
        let made = Made {
            path: b"device".to_vec(),
            folder: false,
            id: (0, 0),
            folder_mtime: Timespec { tv_sec: 0, tv_nsec: 0 },
        };
        recorder.made.push(made);
        let stubs = recorder.finish(root.as_fd()).unwrap();
        assert_eq!(stubs.made.len(), 2);
        remove(&stubs, folder.path()).unwrap();
        assert!(names(&folder.path().join("mnt/empty")).is_empty());
        assert!(folder.path().join("device").exists());
        assert_eq!(["", "mnt", "mnt/empty"].map(times), before);
    }

    #[test]
    fn keeps_what_the_command_changed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("etc")).unwrap();
        let stubs = make(folder.path(), false, &["/etc/hosts", "/run/a/b", "/srv/x"]);
        fs::write(folder.path().join("etc/own"), "x").unwrap();
        fs::write(folder.path().join("run/a/b"), "x").unwrap();
        fs::remove_dir_all(folder.path().join("srv")).unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("x"), "").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("srv")).unwrap();
        remove(&stubs, folder.path()).unwrap();
        assert_eq!(names(&folder.path().join("etc")), ["own"]);
        assert_eq!(names(&folder.path().join("run/a")), ["b"]);
        assert_eq!(names(outside.path()), ["x"]);
    }
}
