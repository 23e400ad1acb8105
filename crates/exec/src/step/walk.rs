//! Finding and making files below a root, in the way of a process that has this root.
//!
//! Each name is looked up by itself, relative to a descriptor of its folder, and this module follows
//! symbolic links. So nothing outside the root is ever touched, and the path without links is known
//! at the end. `openat2` would do, but it is new in Linux 5.6, and older sandboxes refuse it.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags, PROC_SUPER_MAGIC, Stat, Timespec};
use rustix::io::Errno;

use crate::error::RunError;

/// The magic number of sysfs.
const SYSFS_MAGIC: u64 = 0x6265_6572;

/// As many symbolic links as the kernel follows in one path.
const LINK_LIMIT: usize = 40;

/// The treatment of names that do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// They are an error.
    Fail,
    /// All are made as folders.
    MakeFolder,
    /// The last one is made as an empty file, all others as folders.
    MakeFile,
}

/// A file that was found or made.
#[derive(Debug)]
pub(super) struct Place {
    /// An `O_PATH` descriptor of it.
    pub fd: OwnedFd,
    /// The folder around it, and its name there; `None` for the root.
    pub around: Option<(OwnedFd, Vec<u8>)>,
    /// The files and folders that were made, the outermost first.
    pub made: Vec<Made>,
    /// Whether it is in `/proc` or `/sys`, or one of them; unknown if nothing was to be made.
    pub is_kernels: bool,
}

/// A file or folder that was made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its path below the root: without links, dots and leading slash.
    pub path: Vec<u8>,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its device and inode.
    pub id: (u64, u64),
    /// The modification time of the folder around it, before this.
    pub folder_mtime: Timespec,
}

struct Walk<'a> {
    root: BorrowedFd<'a>,
    /// The folders from the root down, with the last file, and their names.
    trail: Vec<(OwnedFd, Vec<u8>)>,
    todo: VecDeque<Vec<u8>>,
    links: usize,
    made: Vec<Made>,
}

/// Looks up `path` below `root`; a leading slash makes no difference.
///
/// New files belong to the caller, with mode 0755 for folders and 0644 for files, less the umask.
///
/// **Errors** — `XDEV` if a file would have to be made in `/proc` or `/sys`.
pub(super) fn locate(root: BorrowedFd<'_>, path: &[u8], missing: Missing) -> Result<Place, Errno> {
    let mut walk =
        Walk { root, trail: Vec::new(), todo: parts(path).collect(), links: 0, made: Vec::new() };
    while let Some(name) = walk.todo.pop_front() {
        match &name[..] {
            b"." => {}
            b".." => drop(walk.trail.pop()),
            _ => walk.enter(name, missing)?,
        }
    }
    let is_kernels = missing != Missing::Fail && walk.is_kernels()?;
    let (fd, around) = match walk.trail.pop() {
        Some((fd, name)) => {
            let around = match walk.trail.pop() {
                Some((around, _)) => around,
                None => open_at(root, b".")?,
            };
            (fd, Some((around, name)))
        }
        None => (open_at(root, b".")?, None),
    };
    Ok(Place { fd, around, made: walk.made, is_kernels })
}

/// Opens `path` below `folder` without following any symbolic link; the empty path is the folder.
///
/// **Errors** — `LOOP` if `path` is a symbolic link, `NOTDIR` if a part before its last is one,
/// `XDEV` if it has a `..`.
pub(super) fn open_beneath(folder: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut here = open_at(folder, b".")?;
    for name in parts(path) {
        if name == b".." {
            return Err(Errno::XDEV);
        }
        here = open_at(here.as_fd(), &name)?;
    }
    match FileType::from_raw_mode(rustix::fs::fstat(&here)?.st_mode) {
        FileType::Symlink => Err(Errno::LOOP),
        _ => Ok(here),
    }
}

impl Walk<'_> {
    fn enter(&mut self, name: Vec<u8>, missing: Missing) -> Result<(), Errno> {
        let folder = self.trail.last().map_or(self.root, |(fd, _)| fd.as_fd());
        let file = match open_at(folder, &name) {
            Err(Errno::NOENT) if missing != Missing::Fail => {
                if self.is_kernels()? {
                    return Err(Errno::XDEV);
                }
                let is_folder = missing == Missing::MakeFolder || !self.todo.is_empty();
                let folder_mtime = mtime(&rustix::fs::fstat(folder)?);
                make(folder, &name, is_folder)?;
                let file = open_at(folder, &name)?;
                let mut path = self.path();
                join(&mut path, &name);
                let id = id(&rustix::fs::fstat(&file)?);
                self.made.push(Made { path, folder: is_folder, id, folder_mtime });
                file
            }
            opened => opened?,
        };
        match FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) {
            FileType::Symlink => {
                self.links += 1;
                if self.links > LINK_LIMIT {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&file, "", Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    self.trail.clear();
                }
                parts(&target).rev().for_each(|part| self.todo.push_front(part));
                Ok(())
            }
            FileType::Directory => {
                self.trail.push((file, name));
                Ok(())
            }
            _ if self.todo.is_empty() => {
                self.trail.push((file, name));
                Ok(())
            }
            _ => Err(Errno::NOTDIR),
        }
    }

    /// Returns whether the way so far leads through `/proc` or `/sys`. Masks and control groups there
    /// are file systems of other kinds, so each folder on the way counts.
    fn is_kernels(&self) -> Result<bool, Errno> {
        for (fd, _) in &self.trail {
            #[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
            let kind = rustix::fs::fstatfs(fd)?.f_type as u64;
            if [PROC_SUPER_MAGIC as u64, SYSFS_MAGIC].contains(&kind) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn path(&self) -> Vec<u8> {
        let mut path = Vec::new();
        self.trail.iter().for_each(|(_, name)| join(&mut path, name));
        path
    }
}

/// Makes the working directory if it is missing. It is part of the image from then on.
pub(super) fn make_working_directory(root: BorrowedFd<'_>, path: &str) -> Result<(), RunError> {
    let failed =
        |errno: Errno| RunError::WorkingDirectory { path: path.to_owned(), source: errno.into() };
    if !path.starts_with('/') {
        return Err(failed(Errno::INVAL));
    }
    locate(root, path.as_bytes(), Missing::MakeFolder).map_err(failed)?;
    Ok(())
}

/// Returns the folder `name` at the top of the image, made if there is none. It stays in the
/// image, as with other builders.
pub(super) fn top_folder(root: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, RunError> {
    let path = format!("/{name}");
    let failed = |errno: Errno| match errno {
        // Mounts over the target of a link have turned a container's setup against its host more
        // than once.
        Errno::NOTDIR | Errno::LOOP => RunError::OddImageFile {
            path: path.clone(),
            reason: "it must be a folder, not a link or a file".to_owned(),
        },
        errno => RunError::ImageFile { path: path.clone(), source: errno.into() },
    };
    let open = || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(root, name, flags, Mode::empty())
    };
    match open() {
        Err(Errno::NOENT) => {
            rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755)).map_err(failed)?;
            open().map_err(failed)
        }
        opened => opened.map_err(failed),
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|b| *b == b'/').filter(|part| !part.is_empty()).map(<[u8]>::to_vec)
}

fn join(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

fn open_at(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

fn make(folder: BorrowedFd<'_>, name: &[u8], is_folder: bool) -> Result<(), Errno> {
    if is_folder {
        rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o755))
    } else {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644)).map(drop)
    }
}

/// Returns the device and inode of a file.
#[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
pub(super) fn id(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Returns the modification time of a file.
pub(super) fn mtime(stat: &Stat) -> Timespec {
    Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(root: &std::path::Path, path: &str, missing: Missing) -> Result<String, Errno> {
        let folder = std::fs::File::open(root).unwrap();
        let place = locate(folder.as_fd(), path.as_bytes(), missing)?;
        let found = std::fs::read_link(format!("/proc/self/fd/{}", place.fd.as_raw_fd())).unwrap();
        Ok(found.strip_prefix(root.canonicalize().unwrap()).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn follows_links_below_the_root_only() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/file"), "").unwrap();
        symlink("/a/b", root.join("absolute")).unwrap();
        symlink("../../../../a", root.join("a/b/up")).unwrap();
        symlink("self", root.join("self")).unwrap();
        symlink("../made/x", root.join("a/dangling")).unwrap();
        let find = |name: &str| path(&root, name, Missing::Fail);
        assert_eq!(find("/").unwrap(), "");
        assert_eq!(find("/../..").unwrap(), "");
        assert_eq!(find("absolute/../file").unwrap(), "a/file");
        assert_eq!(find("a/b/up/b").unwrap(), "a/b");
        assert_eq!(find("self"), Err(Errno::LOOP));
        assert_eq!(find("a/file/x"), Err(Errno::NOTDIR));
        assert_eq!(find("a/dangling"), Err(Errno::NOENT));
        assert_eq!(path(&root, "a/dangling", Missing::MakeFile).unwrap(), "made/x");
        assert!(root.join("made/x").is_file());
        assert_eq!(path(&root, "p/q/../r", Missing::MakeFolder).unwrap(), "p/r");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn follows_no_links_beneath() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        symlink("a", root.path().join("link")).unwrap();
        let folder = std::fs::File::open(root.path()).unwrap();
        let open = |path: &str| open_beneath(folder.as_fd(), path.as_bytes()).map(drop);
        for (path, result) in [
            ("", Ok(())),
            ("a/b", Ok(())),
            ("./a//b/", Ok(())),
            ("a/c", Err(Errno::NOENT)),
            ("link", Err(Errno::LOOP)),
            ("link/b", Err(Errno::NOTDIR)),
            ("a/../a", Err(Errno::XDEV)),
        ] {
            assert_eq!(open(path), result, "{path:?}");
        }
    }
}
