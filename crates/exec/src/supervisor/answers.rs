//! The answers to system calls of a step. Each call has a file of its own below.

mod mknod;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xbuild_model::records::Records;

use self::mknod::Mknod;
use super::caller::Caller;
use super::guise::Guise;
use crate::idmap::Ids;
use crate::seccomp::notice::{self, Notice};

/// The means to answer calls.
pub(super) struct Answers {
    /// This process's own `/proc`.
    proc: OwnedFd,
    guise: Guise,
}

impl Answers {
    /// Prepares for calls, in a namespace with these ids.
    pub(super) fn new(ids: Ids) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { proc: rustix::fs::open("/proc", flags, Mode::empty())?, guise: Guise::new(ids)? })
    }

    /// Takes the next call from the listener and answers it.
    ///
    /// **Errors** — only those that leave this process unfit to go on.
    pub(super) fn serve(&self, listener: &OwnedFd, records: &mut Records) -> Result<(), Errno> {
        let fault = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let Some(notice) = notice::receive(listener).map_err(fault)? else { return Ok(()) };
        let read = self.read(&notice);
        // The thread's number may by now be another's.
        if !notice.is_waiting(listener) {
            return Ok(());
        }
        let result = match read {
            Ok((caller, call)) => self.perform(&caller, &call, records)?,
            Err(errno) => Err(errno),
        };
        notice.answer(listener, result.err().map(Errno::raw_os_error)).map_err(fault)
    }

    /// Reads the call and its caller. A call that the filter should not have passed on is refused.
    fn read(&self, notice: &Notice) -> Result<(Caller, Mknod), Errno> {
        let call = notice.call.as_ref().and_then(Mknod::read).ok_or(Errno::PERM)?;
        Ok((Caller::read(self.proc.as_fd(), notice.thread, &call.path)?, call))
    }

    /// Does the work of the call. The outer result is about this process, the inner one for the
    /// caller.
    fn perform(
        &self,
        caller: &Caller,
        call: &Mknod,
        records: &mut Records,
    ) -> Result<Result<(), Errno>, Errno> {
        let worn = self.guise.wear(caller);
        let done = worn.and_then(|()| call.perform(caller, &self.guise, records));
        self.guise.take_off()?;
        Ok(done)
    }
}
