//! Pid 1 of a step: it makes the parts that every step has, waits for the request, builds the root
//! file system, starts the command, and reaps.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use caps::CapsHashSet;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use rustix::process::{Signal, WaitOptions, WaitStatus};
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, Security};

use super::command::{self, Prepared};
use super::userns::kit::Kit;
use super::userns::{build, namespaces};
use crate::capabilities;
use crate::error::{RunError, in_words};
use crate::idmap::Ids;
use crate::protocol::{Event, StepRequest};
use crate::seccomp::{self, Filter};
use crate::sys::{self, Fork};
use crate::wire;

/// The life of pid 1, which ends with the command. `reader` is the other end of `events`, which it
/// inherited. `supervisor` brings the request and answers the calls that the filter keeps from the
/// kernel. `ids` are those of the build's namespace.
pub(super) fn main(ids: Ids, supervisor: OwnedFd, reader: OwnedFd, events: OwnedFd) -> ! {
    drop(reader);
    // A panic must not unwind into the frames of the process that this one was forked from.
    match catch_unwind(AssertUnwindSafe(|| run(ids, supervisor, &events))) {
        Ok(Ok(exit)) => Event::Ended(exit).send(&events),
        Ok(Err(error)) => Event::Failed(error).send(&events),
        Err(_) => {}
    }
    // With this process the kernel ends everything that the command left running.
    sys::exit_now(0)
}

fn run(ids: Ids, supervisor: OwnedFd, events: &OwnedFd) -> Result<Exit, RunError> {
    end_with_reader(events)?;
    sys::close_all_but(&[events.as_fd(), supervisor.as_fd()])
        .map_err(RunError::setup("close descriptors"))?;
    rustix::process::umask(Mode::empty());
    namespaces::enter_mounts()?;
    let kit = Kit::new(ids)?;
    let received = wire::receive(&supervisor).map_err(RunError::setup("wait for the request"))?;
    let (_, mut fds) = received.ok_or(RunError::Killed)?;
    let request = StepRequest::read(fds.first())?;
    let is_joined = matches!(&request.root, RootFs::Overlay(dirs) if dirs.joined.is_some());
    let joined = if is_joined { fds.pop() } else { None };
    let [_, output] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|_| RunError::Invalid { what: "request".into(), value: "no pipe".into() })?;
    let filter = filter(&request)?;
    let (command, who) = build::build(&request, ids, joined, kit, events)?;
    let pid = match sys::fork().map_err(RunError::setup("fork"))? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let prepared = Prepared { command, who, ids, filter, supervisor, output };
            let error = command::become_command(prepared, &request.run);
            Event::Failed(error).send(events);
            sys::exit_now(127)
        }
    };
    drop((output, supervisor));
    renounce()?;
    reap(pid)
}

/// Returns the filter of the step's system calls; `None` for an insecure step.
fn filter(request: &StepRequest) -> Result<Option<Filter>, RunError> {
    match request.run.security {
        Security::Insecure => Ok(None),
        Security::Sandbox => seccomp::program(&request.run.platform)
            .map(Some)
            .map_err(|error| RunError::Filter { reason: in_words(&error) }),
    }
}

/// Makes the kernel kill this process together with the process that started it, and makes sure
/// that the latter still exists. In a pid namespace of its own this process cannot ask for its id,
/// but that process holds the reading end of `events`.
fn end_with_reader(events: &OwnedFd) -> Result<(), RunError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(RunError::setup("prctl"))?;
    let mut polled = [PollFd::new(events, PollFlags::empty())];
    retry_on_intr(|| rustix::event::poll(&mut polled, Some(&Timespec::default())))
        .map_err(RunError::setup("poll"))?;
    if polled[0].revents().contains(PollFlags::ERR) { Err(RunError::Killed) } else { Ok(()) }
}

/// Gives up every right and the way to the user's terminal.
fn renounce() -> Result<(), RunError> {
    let silence = || {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stderr(&null)
    };
    silence().map_err(RunError::setup("close standard error"))?;
    capabilities::drop_to(&CapsHashSet::new())
}

/// Waits until the command ends, and reaps the processes that it left behind meanwhile.
fn reap(command: rustix::process::Pid) -> Result<Exit, RunError> {
    loop {
        let (pid, status) = retry_on_intr(|| rustix::process::wait(WaitOptions::empty()))
            .map_err(RunError::setup("wait for the command"))?
            .ok_or(RunError::Killed)?;
        if pid == command {
            return Ok(exit_of(status));
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}
