//! The mount points of `/proc` and `/sys`: packages own them, and their owners, modes and times are the
//! kernel's. Changes succeed and are thrown away, as everything at mount points is.

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::spot::Spot;

/// `SYSFS_MAGIC`.
const SYSFS: u64 = 0x6265_6572;

/// Returns whether a file is such a mount point.
pub(super) fn is_kernels(spot: &Spot) -> bool {
    // Nearly all files have other names, and need no look.
    let name = spot.name().unwrap_or_default();
    let may_be = name.iter().all(u8::is_ascii_digit) || matches!(&name[..], b"proc" | b"sys");
    may_be && is_mount_point(spot).unwrap_or(false)
}

fn is_mount_point(spot: &Spot) -> Result<bool, Errno> {
    let handle = spot.handle()?;
    #[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
    let magic = rustix::fs::fstatfs(&handle)?.f_type as u64;
    if magic != rustix::fs::PROC_SUPER_MAGIC as u64 && magic != SYSFS {
        return Ok(false);
    }
    let stat = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
