//! The resource limits and the umask of xbuild's own processes. RUN steps have their own.

mod sys;

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};

/// Bytes of stack that the first thread of a process needs. Half of it is enough for a build; nothing
/// recurses over input.
const LEAST_STACK: u64 = 1 << 20;

/// Bytes of stack that a process has on most machines.
const USUAL_STACK: u64 = 8 << 20;

/// Open files that are enough for any build.
const OPEN_FILES: u64 = 65_536;

/// The stack of a process may not be as large as xbuild needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stack of a process may have {} KiB here, and xbuild needs {} KiB",
    .most / 1024,
    LEAST_STACK / 1024
)]
pub struct StackLimit {
    /// The hard limit, in bytes.
    pub most: u64,
}

/// Raises the soft limits of stack and open files towards the hard ones, for this process and those
/// that it starts. The stack of the first thread may grow up to the new limit at once. A write beyond the
/// limit of file sizes fails from now on (`EFBIG`); the signal for it would end the process without a
/// word.
///
/// **Errors** — if the hard limit of the stack is too low. One of open files is met by chance: the
/// work that meets it says so.
///
/// **Source** — `getrlimit(2)`.
pub fn raise_limits() -> Result<(), StackLimit> {
    sys::survive_file_limit();
    // Where a limit stays as it is, the work that meets it says so.
    let _ = raise(Resource::Nofile, OPEN_FILES);
    let _ = raise(Resource::Stack, USUAL_STACK);
    let limit = getrlimit(Resource::Stack);
    if limit.current.is_none_or(|current| current >= LEAST_STACK) {
        return Ok(());
    }
    // A privileged process may raise the hard limit, too.
    let wanted = Rlimit { current: Some(USUAL_STACK), maximum: Some(USUAL_STACK) };
    let most = limit.maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::Stack, wanted).map_err(|_| StackLimit { most })
}

/// Takes the owner's bits out of the umask of this process and those that it starts: xbuild opens what
/// it has made. The bits of group and others stay.
///
/// **Source** — `umask(2)`. There is no call that only reads the mask, so this comes before any thread.
pub fn keep_own_rights() {
    let mask = umask(Mode::RWXG | Mode::RWXO);
    umask(mask & (Mode::RWXG | Mode::RWXO));
}

fn raise(resource: Resource, wanted: u64) -> rustix::io::Result<()> {
    let limit = getrlimit(resource);
    match raised((limit.current, limit.maximum), wanted) {
        Some(current) => setrlimit(resource, Rlimit { current: Some(current), ..limit }),
        None => Ok(()),
    }
}

/// Returns the soft limit to set; `None` if the limits may stay as they are.
fn raised((current, maximum): (Option<u64>, Option<u64>), wanted: u64) -> Option<u64> {
    let possible = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    current.is_some_and(|current| current < possible).then_some(possible)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limits_are_raised_as_far_as_they_may_be() {
        for (current, maximum, expected) in [
            (Some(64), Some(64), None),
            (Some(64), Some(80), Some(80)),
            (Some(64), Some(1000), Some(100)),
            (Some(64), None, Some(100)),
            (Some(100), None, None),
            (Some(200), Some(300), None),
            (None, None, None),
        ] {
            assert_eq!(raised((current, maximum), 100), expected, "{current:?} {maximum:?}");
        }
    }
}
