//! The answers to system calls of a step. Each call has a file of its own below.

mod files;
mod lists;
mod machine;
mod mknod;
mod path_call;
mod processes;
mod view;

use std::collections::HashSet;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xbuild_model::records::Records;

use self::mknod::Mknod;
use self::path_call::PathCall;
use self::view::View;
use super::caller::Caller;
use super::guise::Guise;
use super::nearness::Nearness;
use super::owners::Owners;
use super::owners::ground::Ground;
use super::reply::Reply;
use super::scene::Scene;
use super::step_place::StepPlace;
use super::thread::Thread;
use crate::error::errno_of;
use crate::idmap::Ids;
use crate::seccomp::notice::Notice;

/// The means to answer calls.
pub(super) struct Answers {
    /// This process's own `/proc`.
    proc: OwnedFd,
    guise: Guise,
    scene: Scene,
    /// `None` until the first call, and where owners are on disk.
    owners: Option<Owners>,
    /// Mounts of the user's own files.
    foreign: HashSet<u64>,
    /// `None` without a listener: then there are no calls.
    near: Option<Nearness>,
}

impl Answers {
    /// Prepares for calls, in a namespace with these ids.
    pub(super) fn new(
        ids: Ids,
        mut scene: Scene,
        around: StepPlace,
        near: Option<Nearness>,
    ) -> Result<Self, Errno> {
        let StepPlace { volumes: foreign, has_packages } = around;
        if has_packages && scene.owners.is_none() {
            scene.owners = Some(Ground::nothing());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        Ok(Self { proc, guise: Guise::new(ids)?, scene, owners: None, foreign, near })
    }

    /// Answers a call of the listener.
    ///
    /// **Errors** — only those that leave this process unfit to go on.
    pub(super) fn serve(
        &mut self,
        notice: &Notice,
        listener: &OwnedFd,
        records: &mut Records,
    ) -> Result<(), Errno> {
        if let Some(near) = &mut self.near {
            near.approach(self.proc.as_fd(), notice.thread);
        }
        if let Some(reply) = self.tell_machine(notice, listener) {
            return reply.send(notice, listener).map_err(errno_of);
        }
        let reply = match self.stand_in(notice, listener)? {
            Some(Reply::Continue) => self.own(notice, listener)?.or(Some(Reply::Continue)),
            None => self.own(notice, listener)?,
            reply => reply,
        };
        let Some(reply) = reply
            .map_or_else(|| self.make_device(notice, listener, records), |reply| Ok(Some(reply)))?
        else {
            return Ok(());
        };
        reply.send(notice, listener).map_err(errno_of)
    }

    /// Answers a question about the machine; `None` for any other call.
    fn tell_machine(&self, notice: &Notice, listener: &OwnedFd) -> Option<Reply> {
        let (machine, call) = (self.scene.machine.as_ref()?, notice.call.as_ref()?);
        machine::answer(call, &Thread { number: notice.thread, notice, listener }, machine)
    }

    /// Returns whether nearly all calls of the step come here.
    pub(super) fn are_many(&self) -> bool {
        self.scene.owners.as_ref().is_some_and(|ground| ground.below.counts.is_none())
    }

    /// Ends with the step: adds what became known to the records, and goes to this process's own
    /// place.
    pub(super) fn conclude(&mut self, records: &mut Records) -> Result<(), Errno> {
        if let Some(owners) = &self.owners {
            owners.report(records);
        }
        self.leave()
    }

    /// Answers a call for a file that this process stands in for; `None` if it names no file.
    fn stand_in(&mut self, notice: &Notice, listener: &OwnedFd) -> Result<Option<Reply>, Errno> {
        if !self.scene.is_watched {
            return Ok(None);
        }
        let Some(call) = notice.call.as_ref().and_then(PathCall::read) else { return Ok(None) };
        self.leave()?;
        let Self { guise, scene, .. } = self;
        let files = View { proc: self.proc.as_fd(), guise, scene };
        files.answer(notice, listener, &call).map(Some)
    }

    /// Answers a call about owners; `None` for any other, and where they are on disk.
    fn own(&mut self, notice: &Notice, listener: &OwnedFd) -> Result<Option<Reply>, Errno> {
        let is_beyond = |ground: &Ground| ground.below.counts.is_some();
        if self.scene.owners.as_ref().is_some_and(is_beyond) && executes(notice) {
            // The process that becomes the command is not open to this one before. Owners beyond a
            // range have no say in what is executed.
            return Ok(Some(Reply::Continue));
        }
        if self.scene.owners.is_some() {
            let root = match Owners::root_of(self.proc.as_fd(), notice.thread) {
                Ok(root) => root,
                Err(errno) => return Ok(Some(Reply::Fails(errno))),
            };
            let ground = self.scene.owners.take();
            let first = (notice.thread, root);
            let open = |ground| Owners::new(self.proc.as_fd(), first, ground, self.foreign.clone());
            self.owners = ground.map(open).transpose()?;
        }
        match &mut self.owners {
            Some(owners) => owners.answer(notice, listener),
            None => Ok(None),
        }
    }

    /// Goes to this process's own place.
    fn leave(&mut self) -> Result<(), Errno> {
        self.owners.as_mut().map_or(Ok(()), Owners::leave)
    }

    /// Makes a device; `None` if the caller is gone.
    fn make_device(
        &mut self,
        notice: &Notice,
        listener: &OwnedFd,
        records: &mut Records,
    ) -> Result<Option<Reply>, Errno> {
        self.leave()?;
        let read = self.read(notice);
        // The thread's number may by now be another's.
        if !notice.is_waiting(listener) {
            return Ok(None);
        }
        let may = |owners: &mut Owners| owners.may_make_devices(notice, listener);
        let result = match read {
            _ if !self.owners.as_mut().is_none_or(may) => Err(Errno::PERM),
            Ok((caller, call)) => self.perform(&caller, &call, records)?,
            Err(errno) => Err(errno),
        };
        if result.is_ok()
            && let Some(owners) = &mut self.owners
        {
            owners.adopt(notice, listener)?;
        }
        Ok(Some(result.map_or_else(Reply::Fails, |()| Reply::Returns(0))))
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
        let done = worn.and_then(|()| call.perform(caller, &self.guise, &self.foreign, records));
        self.guise.take_off()?;
        Ok(done)
    }
}

/// Returns whether a call executes a program.
fn executes(notice: &Notice) -> bool {
    notice.call.as_ref().is_some_and(|call| matches!(call.name, "execve" | "execveat"))
}
