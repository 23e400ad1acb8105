//! Processes that end with the one that started them.

use rustix::process::Signal;

use crate::error::SandboxError;

/// Makes the kernel kill this process when the process `starter` ends, which must be the one that
/// started it. A change of credentials undoes it.
///
/// **Errors** — [`SandboxError::Gone`] if `starter` has ended already.
pub(crate) fn end_with(starter: u32) -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| {
        SandboxError::Setup { attempt: "prctl".to_owned(), source: errno.into() }
    })?;
    // It may have ended before the line above.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == i32::try_from(starter).ok() { Ok(()) } else { Err(SandboxError::Gone) }
}
