//! The states in which a traced thread is reported.

use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, WaitOptions, WaitStatus};

/// A change of a traced thread's state.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stop {
    /// It has ended, by itself or by a signal.
    Ended(WaitStatus),
    /// It is at the beginning of a system call or at its end.
    AtCall,
    /// It is about to get a signal.
    Signal(i32),
    /// It has met an event (`PTRACE_EVENT_*`), by the signal that is reported with it.
    Event(i32, i32),
}

impl Stop {
    fn new(status: WaitStatus) -> Self {
        let raw = status.as_raw();
        if !libc::WIFSTOPPED(raw) {
            return Self::Ended(status);
        }
        // With the option for it, the stops at calls carry a bit that no signal has.
        match (raw >> 16, libc::WSTOPSIG(raw)) {
            (0, signal) if signal == libc::SIGTRAP | 0x80 => Self::AtCall,
            (0, signal) => Self::Signal(signal),
            (event, signal) => Self::Event(event, signal),
        }
    }

    /// Returns the signal that stopped the whole process, if that is so.
    pub(super) fn job_control(self) -> Option<i32> {
        match self {
            Self::Event(
                libc::PTRACE_EVENT_STOP,
                signal @ (libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU),
            ) => Some(signal),
            _ => None,
        }
    }
}

/// Threads count, too, not only processes.
fn options() -> WaitOptions {
    WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned())
}

/// Waits for the next change of any child or traced thread.
pub(super) fn wait_for_any() -> Result<(Pid, Stop), Errno> {
    let changed = retry_on_intr(|| rustix::process::wait(options()))?;
    changed.map(|(thread, status)| (thread, Stop::new(status))).ok_or(Errno::CHILD)
}

/// Waits for the next change of this thread.
pub(super) fn wait_for(thread: Pid) -> Result<Stop, Errno> {
    let changed = retry_on_intr(|| rustix::process::waitpid(Some(thread), options()))?;
    changed.map(|(_, status)| Stop::new(status)).ok_or(Errno::CHILD)
}
