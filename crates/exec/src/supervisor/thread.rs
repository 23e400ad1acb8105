//! The thread that made a call.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::caller;
use crate::seccomp::notice::Notice;

/// The thread that waits for an answer.
pub(super) struct Thread<'a> {
    pub(super) number: u32,
    pub(super) notice: &'a Notice,
    pub(super) listener: &'a OwnedFd,
}

impl Thread<'_> {
    /// Makes sure that the thread still waits: then everything that was read is about its call.
    pub(super) fn check(&self) -> Result<(), Errno> {
        if self.notice.is_waiting(self.listener) { Ok(()) } else { Err(Errno::SRCH) }
    }

    /// Returns the umask.
    pub(super) fn umask(&self) -> Result<Mode, Errno> {
        let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(self.number.to_string(), folder, Mode::empty())?;
        let status = caller::status(&folder)?;
        self.check()?;
        Ok(status.umask)
    }
}
