//! `/sys` of a step.

use std::os::fd::OwnedFd;

use super::attributes::attach_with;
use super::masks::{Blank, READ_ONLY, mask, open_below};
use super::mounts::{attach, create};
use crate::error::RunError;
use crate::mount::clone_of;

/// Folders below `/sys` that reveal something of the machine.
const MASKED: &[&str] = &["firmware", "devices/virtual/powercap"];

/// Returns a second mount of `outer`, the host's `/sys`.
pub(super) fn copy_sys(outer: &OwnedFd) -> Result<OwnedFd, RunError> {
    clone_of(outer, true).map_err(RunError::mount("/sys"))
}

/// Returns a `/sys` that shows the devices of this process's network namespace, read-only; `None` if
/// the kernel refuses one.
pub(super) fn own_sys() -> Option<OwnedFd> {
    create(c"sysfs", &[], READ_ONLY).ok()
}

/// Mounts `sys` at `target`, read-only throughout. Without `masks` nothing is hidden.
pub(super) fn mount_sys(
    sys: &OwnedFd,
    target: &OwnedFd,
    blank: &Blank,
    masks: Option<&Blank>,
) -> Result<(), RunError> {
    attach_with(sys, target, READ_ONLY, true).map_err(RunError::mount("/sys read-only"))?;
    if let Some(blank) = masks {
        mask(sys, MASKED, blank).map_err(RunError::mount("a mask over /sys"))?;
    }
    if let Some(target) = open_below(sys, "fs/cgroup").map_err(RunError::mount("/sys/fs/cgroup"))? {
        // The step sees its own control group and those below it, or an empty folder.
        match create(c"cgroup2", &[], READ_ONLY) {
            Ok(groups) => attach(groups, target).map_err(RunError::mount("/sys/fs/cgroup"))?,
            Err(_) => blank.cover_folder(&target).map_err(RunError::mount("/sys/fs/cgroup"))?,
        }
    }
    Ok(())
}
