//! Attributes of mounts, also on kernels that change only those of attached ones.
//!
//! Linux 5.12 has `mount_setattr`. On older kernels a mount is attached first and mounted anew with
//! its attributes, before anything of the step runs.
//!
//! **Source** — `mount(2)` § Remounting an existing mount; `proc_pid_mountinfo(5)`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, StatVfsMountFlags, StatxFlags};
use rustix::mount::{MountAttrFlags, MountFlags};

use super::mounts;
use crate::mount;

/// Each attribute that steps need, as `mount` and `statvfs` name it.
const NAMES: [(MountAttrFlags, MountFlags, StatVfsMountFlags); 4] = [
    (MountAttrFlags::MOUNT_ATTR_RDONLY, MountFlags::RDONLY, StatVfsMountFlags::RDONLY),
    (MountAttrFlags::MOUNT_ATTR_NOSUID, MountFlags::NOSUID, StatVfsMountFlags::NOSUID),
    (MountAttrFlags::MOUNT_ATTR_NODEV, MountFlags::NODEV, StatVfsMountFlags::NODEV),
    (MountAttrFlags::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC, StatVfsMountFlags::NOEXEC),
];

/// Moves `mount` to `target`, with these attributes besides its own; with those of the mounts below
/// it if `recursive`.
pub(super) fn attach_with(
    mount: &OwnedFd,
    target: &OwnedFd,
    attributes: MountAttrFlags,
    recursive: bool,
) -> io::Result<()> {
    match mount::restrict(mount, attributes, recursive) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            mounts::attach(mount, target)?;
            remount(mount, attributes)?;
            if !recursive {
                return Ok(());
            }
            for path in below(&std::fs::read("/proc/self/mountinfo")?, mount_id(mount)?) {
                remount(&mounts::open_path(mount, &path)?, attributes)?;
            }
            Ok(())
        }
        restricted => {
            restricted?;
            Ok(mounts::attach(mount, target)?)
        }
    }
}

fn remount(mount: &OwnedFd, attributes: MountAttrFlags) -> io::Result<()> {
    // Those that it has already must be repeated.
    let own = rustix::fs::fstatvfs(mount)?.f_flag;
    let is_set = |(new, _, old): &&(MountAttrFlags, MountFlags, StatVfsMountFlags)| {
        attributes.contains(*new) || own.contains(*old)
    };
    let flags = NAMES.iter().filter(is_set).fold(MountFlags::BIND, |all, name| all | name.1);
    let path = format!("/proc/self/fd/{}", mount.as_raw_fd());
    Ok(rustix::mount::mount_remount(path, flags, "")?)
}

/// Returns the kernel's number of the mount that a descriptor leads to.
///
/// Before Linux 5.14 a process that cannot be dumped, as this one, may not read its own `fdinfo`
/// unless it is root of the machine; `statx` knows the number since 5.8.
fn mount_id(mount: &OwnedFd) -> io::Result<u64> {
    let found = rustix::fs::statx(mount, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    if let Ok(found) = found
        && StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::MNT_ID)
    {
        return Ok(found.stx_mnt_id);
    }
    id_in_fdinfo(mount)
}

fn id_in_fdinfo(mount: &OwnedFd) -> io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", mount.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns the paths of all mounts below the mount with that number, relative to it; outer ones
/// first.
fn below(mountinfo: &[u8], top: u64) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n').filter_map(Line::parse);
    let lines: Vec<Line> = lines.collect();
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    let start = lines.iter().find(|line| line.id == top).map(|line| line.path.clone());
    let mut around = vec![top];
    while let (Some(parent), Some(start)) = (around.pop(), &start) {
        for line in lines.iter().filter(|line| line.parent == parent && line.id != parent) {
            if let Ok(path) = line.path.strip_prefix(start) {
                found.push((line.id, path.to_owned()));
                around.push(line.id);
            }
        }
    }
    found.into_iter().map(|(_, path)| path).collect()
}

/// A line of `mountinfo`.
struct Line {
    id: u64,
    parent: u64,
    path: PathBuf,
}

impl Line {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
        let (id, parent) = (number()?, number()?);
        let path = fields.nth(2)?;
        Some(Self { id, parent, path: Path::new(OsStr::from_bytes(&unescape(path))).to_owned() })
    }
}

/// Decodes the octal numbers that stand for spaces, tabs, line ends and backslashes.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let value = octal
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        decoded.push(value.unwrap_or(*first));
        rest = if value.is_some() { &after[3..] } else { after };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_know_the_number_of_a_mount() {
        let numbers = |path: &str| {
            let file: OwnedFd = std::fs::File::open(path).unwrap().into();
            (mount_id(&file).unwrap(), id_in_fdinfo(&file).unwrap())
        };
        let (top, proc) = (numbers("/"), numbers("/proc"));
        assert_eq!((top.0, proc.0), (top.1, proc.1));
        assert_ne!(top, proc);
    }

    #[test]
    fn mounts_below_are_found_by_their_parents() {
        let text = b"20 1 8:1 / / rw - ext4 x rw\n\
            31 20 0:5 / /s/root/sys rw - sysfs x rw\n\
            32 31 0:6 / /s/root/sys/fs/cgroup rw - cgroup2 x rw\n\
            33 32 0:7 / /s/root/sys/fs/cgroup/a\\040b rw - tmpfs x rw\n\
            34 20 0:5 / /s/root/sysx rw - sysfs x rw\n\
            bad line\n";
        let paths = |top| below(text, top);
        assert_eq!(paths(31), [Path::new("fs/cgroup"), Path::new("fs/cgroup/a b")]);
        assert_eq!(paths(32), [Path::new("a b")]);
        assert!(paths(33).is_empty() && paths(99).is_empty());
        assert_eq!(unescape(b"a\\134b\\9\\"), b"a\\b\\9\\");
    }
}
