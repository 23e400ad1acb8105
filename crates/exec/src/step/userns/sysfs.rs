//! `/sys` of a step.

use std::os::fd::OwnedFd;

use super::masks::{Blank, READ_ONLY, mask, open_below};
use super::mounts::{attach, create};
use crate::error::RunError;
use crate::mount::{clone_of, restrict};

/// Folders below `/sys` that reveal something of the machine.
const MASKED: &[&str] = &["firmware", "devices/virtual/powercap"];

/// Returns a second mount of `outer`, the host's `/sys`, read-only throughout.
pub(super) fn copy_sys(outer: &OwnedFd) -> Result<OwnedFd, RunError> {
    let sys = clone_of(outer, true).map_err(RunError::mount("/sys"))?;
    restrict(&sys, READ_ONLY, true).map_err(RunError::mount("/sys read-only"))?;
    Ok(sys)
}

/// Returns a `/sys` that shows the devices of this process's network namespace, read-only; `None` if
/// the kernel refuses one.
pub(super) fn own_sys() -> Option<OwnedFd> {
    create(c"sysfs", &[], READ_ONLY).ok()
}

/// Mounts `sys` at `target`. Without `masks` nothing is hidden.
pub(super) fn mount_sys(
    sys: &OwnedFd,
    target: OwnedFd,
    blank: &Blank,
    masks: Option<&Blank>,
) -> Result<(), RunError> {
    attach(sys, target).map_err(RunError::mount("/sys"))?;
    if let Some(blank) = masks {
        mask(sys, MASKED, blank).map_err(RunError::mount("a mask over /sys"))?;
    }
    if let Some(target) = open_below(sys, "fs/cgroup").map_err(RunError::mount("/sys/fs/cgroup"))? {
        // The step sees its own control group and those below it, or an empty folder.
        let groups = match create(c"cgroup2", &[], READ_ONLY) {
            Ok(groups) => groups,
            Err(_) => blank.folder().map_err(RunError::mount("/sys/fs/cgroup"))?,
        };
        attach(groups, target).map_err(RunError::mount("/sys/fs/cgroup"))?;
    }
    Ok(())
}
