//! `/proc` of a step.

use std::os::fd::OwnedFd;

use rustix::fs::CWD;

use super::masks::{Blank, freeze, mask};
use super::mounts::{INERT, attach, create, open_path};
use crate::error::RunError;
use crate::mount::clone_of;

/// Files below `/proc` that reveal something of the machine or its users, and that no build needs.
const MASKED: &[&str] = &[
    "acpi",
    "asound",
    "interrupts",
    "kallsyms",
    "kcore",
    "keys",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "sched_debug",
    "scsi",
    "sys/fs/binfmt_misc",
    "timer_list",
    "timer_stats",
];

/// Files below `/proc` that change the machine when written to.
const READ_ONLY: &[&str] = &["bus", "fs", "irq", "sys", "sysrq-trigger"];

/// Mounts a new `/proc` at `target` and returns it.
///
/// The kernel refuses a new one if parts of the `/proc` around this process are hidden. Then that one
/// is mounted, and `notes` says so. Without `masks` nothing is hidden or read-only, and only a new
/// one will do: a command that may look into all processes must not see those of other steps.
pub(super) fn mount_proc(
    target: OwnedFd,
    masks: Option<&Blank>,
    notes: &mut Vec<String>,
) -> Result<OwnedFd, RunError> {
    let proc = match create(c"proc", &[], INERT) {
        Err(RunError::Mount { source, .. })
            if source.number() == libc::EPERM && masks.is_some() =>
        {
            notes.push(
                "/proc shows the processes around xbuild, not only the step's: this container \
                 hides parts of its /proc, so that the kernel refuses a new one"
                    .to_owned(),
            );
            let outer = open_path(CWD, "/proc").map_err(RunError::mount("/proc"))?;
            clone_of(outer, true).map_err(RunError::mount("/proc"))?
        }
        created => created?,
    };
    attach(&proc, target).map_err(RunError::mount("/proc"))?;
    let Some(blank) = masks else { return Ok(proc) };
    mask(&proc, MASKED, blank).map_err(RunError::mount("a mask over /proc"))?;
    for path in READ_ONLY {
        freeze(&proc, path).map_err(RunError::mount(&format!("/proc/{path} read-only")))?;
    }
    Ok(proc)
}
