//! The answers to calls of a step.

use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::seccomp::notice::Notice;

/// An answer.
#[derive(Debug)]
pub(super) enum Reply {
    /// The kernel does the call.
    Continue,
    /// The call fails.
    Fails(Errno),
    /// The call returns a number.
    Returns(u32),
    /// The call returns a new descriptor of the caller.
    Gives { file: OwnedFd, close_on_exec: bool },
}

impl Reply {
    /// Answers the call.
    pub(super) fn send(&self, notice: &Notice, listener: &OwnedFd) -> io::Result<()> {
        match self {
            Self::Continue => notice.pass_on(listener),
            Self::Fails(errno) => notice.answer(listener, Some(errno.raw_os_error())),
            Self::Returns(value) => notice.answer_value(listener, *value),
            Self::Gives { file, close_on_exec } => notice.give(listener, file, *close_on_exec),
        }
    }
}
