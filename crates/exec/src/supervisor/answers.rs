//! The answers to system calls of a step. Each call has a file of its own below.

mod files;
mod mknod;
mod path_call;

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xbuild_model::records::Records;

use self::files::{Files, Reply};
use self::mknod::Mknod;
use self::path_call::PathCall;
use super::caller::Caller;
use super::guise::Guise;
use super::scene::Scene;
use crate::idmap::Ids;
use crate::seccomp::notice::{self, Notice};

/// The means to answer calls.
pub(super) struct Answers {
    /// This process's own `/proc`.
    proc: OwnedFd,
    guise: Guise,
    scene: Scene,
}

impl Answers {
    /// Prepares for calls, in a namespace with these ids.
    pub(super) fn new(ids: Ids, scene: Scene) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        Ok(Self { proc, guise: Guise::new(ids)?, scene })
    }

    /// Takes the next call from the listener and answers it.
    ///
    /// **Errors** — only those that leave this process unfit to go on.
    pub(super) fn serve(&self, listener: &OwnedFd, records: &mut Records) -> Result<(), Errno> {
        let fault = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let Some(notice) = notice::receive(listener).map_err(fault)? else { return Ok(()) };
        if let Some(call) = notice.call.as_ref().and_then(PathCall::read) {
            let Self { guise, scene, .. } = self;
            let files = Files { proc: self.proc.as_fd(), guise, scene };
            let reply = files.answer(&notice, listener, &call)?;
            return match reply {
                Reply::Continue => notice.pass_on(listener),
                Reply::Fails(errno) => notice.answer(listener, Some(errno.raw_os_error())),
                Reply::Returns(value) => notice.answer_value(listener, value),
                Reply::Gives { file, close_on_exec } => notice.give(listener, &file, close_on_exec),
            }
            .map_err(fault);
        }
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
