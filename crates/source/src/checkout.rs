//! Modes and times of a commit's files: the same on every machine at any time.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

/// Depth of a commit's folders. Each level holds a descriptor open; git itself cannot write paths
/// of more than 4096 bytes.
const MAX_DEPTH: usize = 512;

/// Returns the folder `path` of a checkout; `None` if a component is not a folder, since a link
/// could lead to files of this machine.
pub(crate) fn folder(root: &Path, path: &str) -> Option<PathBuf> {
    let mut found = root.to_owned();
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") {
            return None;
        }
        found.push(part);
        if !found.symlink_metadata().ok()?.is_dir() {
            return None;
        }
    }
    Some(found)
}

/// Sets the modes of `root` and all files below it to 0644 or 0755, and their times to `time`
/// (seconds since 1970), independent of the umask. Removes the repositories of submodules unless
/// `keep`.
pub(crate) fn level(root: &Path, time: u64, keep: bool) -> io::Result<()> {
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(CWD, root, flags, Mode::empty())?;
    Ok(Leveller { times, keep, flags }.folder(opened, 0)?)
}

struct Leveller {
    times: Timestamps,
    keep: bool,
    flags: OFlags,
}

impl Leveller {
    fn folder(&self, opened: OwnedFd, depth: usize) -> rustix::io::Result<()> {
        if depth > MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        let names: Vec<_> = Dir::read_from(&opened)?
            .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
            .collect::<Result<_, _>>()?;
        for name in names.iter().filter(|name| !matches!(name.to_bytes(), b"." | b"..")) {
            let here = opened.as_fd();
            let stat = rustix::fs::statat(here, name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if !self.keep && name.to_bytes() == b".git" => {
                    rustix::fs::unlinkat(here, name, AtFlags::empty())?;
                }
                FileType::Directory => {
                    let inner = rustix::fs::openat(here, name, self.flags, Mode::empty())?;
                    self.folder(inner, depth + 1)?;
                }
                FileType::RegularFile => {
                    let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
                    rustix::fs::chmodat(here, name, Mode::from_raw_mode(mode), AtFlags::empty())?;
                    self.set_time(here, OsStr::from_bytes(name.to_bytes()))?;
                }
                _ => self.set_time(here, OsStr::from_bytes(name.to_bytes()))?,
            }
        }
        rustix::fs::fchmod(&opened, Mode::from_raw_mode(0o755))?;
        rustix::fs::futimens(&opened, &self.times)
    }

    fn set_time(&self, folder: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
        rustix::fs::utimensat(folder, name, &self.times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn files_look_the_same_and_links_are_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let (root, outside) = (temp.path().join("fs"), temp.path().join("outside"));
        fs::create_dir_all(root.join("a/module")).unwrap();
        fs::write(&outside, "x").unwrap();
        for (name, mode) in [("a/x", 0o700), ("a/f", 0o600), ("a/module/.git", 0o600)] {
            fs::write(root.join(name), name).unwrap();
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(&outside, root.join("link")).unwrap();
        let before = fs::metadata(&outside).unwrap();
        level(&root, 1000, false).unwrap();
        for (name, mode) in [("", 0o755), ("a", 0o755), ("a/x", 0o755), ("a/f", 0o644)] {
            let meta = fs::metadata(root.join(name)).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.mtime()), (mode, 1000), "{name}");
        }
        assert_eq!(fs::symlink_metadata(root.join("link")).unwrap().mtime(), 1000);
        let after = fs::metadata(&outside).unwrap();
        assert_eq!((before.mode(), before.mtime()), (after.mode(), after.mtime()));
        assert!(!root.join("a/module/.git").exists());
        assert_eq!(folder(&root, "a/module"), Some(root.join("a/module")));
        symlink("/", root.join("root")).unwrap();
        for bad in ["root", "root/etc", "link", "a/f", "none", "..", ""] {
            assert_eq!(folder(&root, bad), None, "{bad}");
        }
    }
}
