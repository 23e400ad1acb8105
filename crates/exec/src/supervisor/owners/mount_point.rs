//! The mount points of `/proc` and `/sys`: packages own them, and their owners, modes and times are the
//! kernel's. Changes succeed and are thrown away, as everything at mount points is.

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::deny::{PROC, file_system};
use super::spot::Spot;

/// `SYSFS_MAGIC`.
const SYSFS: u64 = 0x6265_6572;

/// Returns whether a file is such a mount point.
pub(super) fn is_kernels(spot: &Spot) -> bool {
    // Nearly all files have other names, and need no look.
    let may_be = match spot.name() {
        Some(name) => matches!(&name[..], b"proc" | b"sys" | b"cwd") || spot.is_descriptor(),
        None => true,
    };
    may_be && is_mount_point(spot).unwrap_or(false)
}

fn is_mount_point(spot: &Spot) -> Result<bool, Errno> {
    let flags = if spot.follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    // One look is enough for nearly all descriptors.
    let stat = rustix::fs::statx(CWD, &*spot.path, flags, StatxFlags::TYPE)?;
    if !stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) {
        return Ok(false);
    }
    Ok(matches!(file_system(&spot.handle()?)?, PROC | SYSFS))
}
