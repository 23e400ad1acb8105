//! The answers to calls of a step.

use std::os::fd::OwnedFd;

use rustix::io::Errno;

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
