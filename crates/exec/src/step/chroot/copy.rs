//! Copying files with everything that a step can see of them. File systems that can share blocks do.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use crate::error::errno_of;
use crate::step::walk;

/// Copies the file or folder `source` to `name` in `folder`.
pub(super) fn copy(source: &OwnedFd, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    let mut copied = HashMap::new();
    let mut todo = vec![copy_one(source, folder, name.as_bytes(), &mut copied)?];
    // A stack instead of recursion: a tree may be deeper than the stack of a thread.
    while let Some(open) = todo.last_mut().map(Option::as_mut) {
        let Some(level) = open else {
            todo.pop();
            continue;
        };
        match level.next()? {
            Some(name) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(&level.source, &name[..], flags, Mode::empty())?;
                let next = copy_one(&file, &level.copy, &name, &mut copied)?;
                todo.push(next);
            }
            None => {
                level.finish()?;
                todo.pop();
            }
        }
    }
    Ok(())
}

/// Where a file with several names was copied to.
type Copied = HashMap<(u64, u64), (OwnedFd, Vec<u8>)>;

/// A folder whose files are being copied.
struct Level {
    source: OwnedFd,
    copy: OwnedFd,
    stat: Stat,
    names: Vec<Vec<u8>>,
}

impl Level {
    fn open(source: &OwnedFd, copy: OwnedFd, stat: Stat) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let source = rustix::fs::openat(source, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&source)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                names.push(name.to_vec());
            }
        }
        Ok(Self { source, copy, stat, names })
    }

    fn next(&mut self) -> Result<Option<Vec<u8>>, Errno> {
        Ok(self.names.pop())
    }

    /// Sets the times, after the last change.
    fn finish(&self) -> Result<(), Errno> {
        set_times(&self.copy, &self.stat)
    }
}

/// Copies a file, or makes a folder whose files are still to be copied.
fn copy_one(
    source: &OwnedFd,
    folder: &OwnedFd,
    name: &[u8],
    copied: &mut Copied,
) -> Result<Option<Level>, Errno> {
    let stat = rustix::fs::fstat(source)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::Directory && stat.st_nlink > 1 {
        if let Some((around, known)) = copied.get(&walk::id(&stat)) {
            rustix::fs::linkat(around, &known[..], folder, name, AtFlags::empty())?;
            return Ok(None);
        }
        let around = rustix::io::fcntl_dupfd_cloexec(folder, 3)?;
        copied.insert(walk::id(&stat), (around, name.to_vec()));
    }
    let private = Mode::from_raw_mode(0o600);
    match kind {
        FileType::Directory => rustix::fs::mkdirat(folder, name, Mode::from_raw_mode(0o700))?,
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(source, "", Vec::new())?;
            rustix::fs::symlinkat(&*target, folder, name)?;
        }
        FileType::RegularFile => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let to = rustix::fs::openat(folder, name, flags, private)?;
            copy_contents(source, to)?;
        }
        FileType::Fifo | FileType::Socket => {
            rustix::fs::mknodat(folder, name, kind, private, 0)?;
        }
        // Devices of images are stand-ins, which are regular files.
        _ => return Err(Errno::OPNOTSUPP),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = rustix::fs::openat(folder, name, flags, Mode::empty())?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(&copy, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
    if kind != FileType::Symlink {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        rustix::fs::chmodat(folder, name, mode, AtFlags::empty())?;
        copy_attributes(source, &copy)?;
    }
    if kind == FileType::Directory {
        return Level::open(source, copy, stat).map(Some);
    }
    set_times(&copy, &stat)?;
    Ok(None)
}

fn reopened(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

fn copy_contents(source: &OwnedFd, to: OwnedFd) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(CWD, reopened(source), flags, Mode::empty())?;
    if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
        return Ok(());
    }
    let (mut from, mut to) = (File::from(from), File::from(to));
    std::io::copy(&mut from, &mut to).map(drop).map_err(errno_of)
}

fn copy_attributes(source: &OwnedFd, copy: &OwnedFd) -> Result<(), Errno> {
    let (from, to) = (reopened(source), reopened(copy));
    let length = match rustix::fs::listxattr_query(&*from) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let mut names = vec![0_u8; length];
    let length = rustix::fs::listxattr(&*from, &mut names[..])?;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let length = rustix::fs::getxattr_query(&*from, name)?;
        let mut value = vec![0_u8; length];
        let length = rustix::fs::getxattr(&*from, name, &mut value[..])?;
        match rustix::fs::setxattr(&*to, name, &value[..length], XattrFlags::empty()) {
            // Labels of security modules and the like are the machine's.
            Ok(()) | Err(Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn set_times(file: &OwnedFd, stat: &Stat) -> Result<(), Errno> {
    let last_modification = walk::mtime(stat);
    let times = Timestamps { last_access: last_modification, last_modification };
    rustix::fs::utimensat(file.as_fd(), "", &times, AtFlags::EMPTY_PATH)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn copies_look_like_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let from = folder.path().join("from");
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/file"), "contents").unwrap();
        fs::set_permissions(from.join("a/b/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(from.join("a/b/file"), from.join("a/second")).unwrap();
        symlink("../nowhere", from.join("a/link")).unwrap();
        let attribute = |path: &std::path::Path| {
            let mut value = [0; 9];
            rustix::fs::getxattr(path, "user.note", &mut value[..])
                .map(|length| value[..length].to_vec())
        };
        for path in [from.join("a"), from.join("a/b/file")] {
            let _ = rustix::fs::setxattr(&path, "user.note", b"text", XattrFlags::empty());
        }
        let open = |path: &std::path::Path| -> OwnedFd { File::open(path).unwrap().into() };
        copy(&open(&from), &open(folder.path()), "to").unwrap();
        let to = folder.path().join("to");
        for name in ["", "a", "a/b", "a/b/file", "a/second", "a/link"] {
            let (one, two) = (from.join(name), to.join(name));
            let meta = |path: &std::path::Path| {
                let meta = fs::symlink_metadata(path).unwrap();
                (meta.mode(), meta.uid(), meta.size(), meta.mtime(), meta.mtime_nsec())
            };
            assert_eq!(meta(&one), meta(&two), "{name}");
            assert_eq!(attribute(&one), attribute(&two), "{name}");
        }
        assert_eq!(fs::read(to.join("a/second")).unwrap(), b"contents");
        assert_eq!(fs::metadata(to.join("a/second")).unwrap().nlink(), 2);
        assert_eq!(fs::read_link(to.join("a/link")).unwrap().to_str(), Some("../nowhere"));
    }
}
