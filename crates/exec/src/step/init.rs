//! Pid 1 of a step: it makes the parts that every step has, waits for the request, builds the root
//! file system, starts the command, and reaps.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use caps::{Capability, CapsHashSet};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Pid, PidfdFlags, Signal, WaitOptions, WaitStatus};
use xbuild_model::owner::OwnersBelow;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, Network, Security};

use super::command::{self, Prepared, Watched};
use super::intercept::{self, Emulators};
use super::sampler::Sampler;
use super::streams::Connected;
use super::userns::build::{self, Given};
use super::userns::kit::Kit;
use super::userns::namespaces;
use crate::capabilities;
use crate::error::{RunError, in_words};
use crate::idmap::Ids;
use crate::protocol::{Event, StepRequest};
use crate::seccomp::{self, Filter, Recorded, Stops};
use crate::supervisor::{Ground, StepPlace};
use crate::sys::{self, Fork};
use crate::twins::COUNT_IN_DEV;
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
    let network = if request.run.network == Network::Private { fds.pop() } else { None };
    let is_joined = matches!(&request.root, RootFs::Overlay(dirs) if dirs.joined.is_some());
    let joined = if is_joined { fds.pop() } else { None };
    let streams = request.take_streams(&mut fds);
    let files = fds.split_off(fds.len().min(2));
    let [_, output] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|_| RunError::Invalid { what: "request".into(), value: "no pipe".into() })?;
    let streams = Connected::new(&request, output, streams)?;
    let emulators = Emulators::new(request.emulators(files)?);
    let below = Ground::below(ids, &request)?;
    let owners = recorded(below.as_ref());
    let (command, who) = build::build(&request, ids, Given { joined, network }, kit, events)?;
    let around = StepPlace::of(&request)?;
    let mount_points = around.has_packages && request.run.security == Security::Sandbox;
    let machine = !request.twins.is_empty();
    let traced = emulators.is_some();
    let stops = Stops { traced, owners, machine, mount_points, ..Stops::default() };
    let filter = filter(&request, stops)?;
    // Nobody of the step has been here yet.
    let sampler = request.counted.then(|| Sampler::open(&format!("/dev/{COUNT_IN_DEV}"))).flatten();
    let prepared = Prepared {
        command,
        who,
        ids,
        root: None,
        no_new_privs: false,
        watched: Watched::Nothing,
        has_others: below.is_some_and(|below| below.has_others),
        around: StepPlace { has_packages: mount_points, ..around },
        filter,
        supervisor,
        streams,
        start: None,
    };
    let started = start_command(prepared, &request, emulators.is_some(), events)?;
    match emulators {
        None => {
            renounce(&[])?;
            sampler.map_or_else(
                || reap(started.pid),
                |sampler| reap_and_look(started.pid, sampler, events),
            )
        }
        Some(emulators) => {
            // Processes that became another user's are traced all the same.
            renounce(&[Capability::CAP_SYS_PTRACE])?;
            trace(&started, &emulators, events)
        }
    }
}

/// A command whose process exists. If it is traced, it waits.
pub(super) struct Started {
    pub(super) pid: Pid,
    line: OwnedFd,
}

/// Forks the process that becomes the command. If it is to be traced, it waits for that.
pub(super) fn start_command(
    mut prepared: Prepared,
    request: &StepRequest,
    traced: bool,
    events: &OwnedFd,
) -> Result<Started, RunError> {
    let (start, line) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(RunError::setup("pipe"))?;
    // The command's process inherits that it can be traced.
    make_traceable(traced)?;
    let pid = match sys::fork().map_err(RunError::setup("fork"))? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            drop(line);
            prepared.start = traced.then_some(start);
            let error = command::become_command(prepared, &request.run, events);
            Event::Failed(error).send(events);
            sys::exit_now(127)
        }
    };
    make_traceable(false)?;
    Ok(Started { pid, line })
}

/// Lets the command begin, and puts emulators in front of programs until it ends.
pub(super) fn trace(
    started: &Started,
    emulators: &Emulators,
    events: &OwnedFd,
) -> Result<Exit, RunError> {
    let Started { pid, line } = started;
    intercept::attach(*pid).map_err(RunError::setup("trace the command, to intercept execve"))?;
    rustix::io::write(line, b"x").map_err(RunError::setup("start the command"))?;
    let mut tell = |note: String| Event::Note(note).send(events);
    intercept::run(*pid, emulators, &mut tell)
        .map(exit_of)
        .map_err(RunError::setup("trace the step"))
}

/// Returns the owners that a supervisor records, with these facts about the layers below.
pub(super) fn recorded(below: Option<&OwnersBelow>) -> Recorded {
    match below {
        None => Recorded::Nothing,
        Some(OwnersBelow { counts: Some(_), .. }) => Recorded::Beyond,
        Some(_) => Recorded::All,
    }
}

/// Returns the filter of the step's system calls; `None` for an insecure step that needs none.
pub(super) fn filter(request: &StepRequest, stops: Stops) -> Result<Option<Filter>, RunError> {
    let filter = match request.run.security {
        Security::Insecure if stops == Stops::default() => return Ok(None),
        Security::Insecure => seccomp::only_stopping(stops),
        Security::Sandbox => seccomp::stopping(&request.run.platform, stops),
    };
    filter.map(Some).map_err(|error| RunError::Filter { reason: in_words(&error) })
}

/// Allows or forbids that this process is traced. Otherwise only somebody with rights in the
/// namespace that xbuild was started in could trace it.
pub(super) fn make_traceable(allowed: bool) -> Result<(), RunError> {
    let behavior = if allowed { DumpableBehavior::Dumpable } else { DumpableBehavior::NotDumpable };
    rustix::process::set_dumpable_behavior(behavior).map_err(RunError::setup("prctl"))
}

/// Makes the kernel kill this process together with the process that started it, and makes sure
/// that the latter still exists. In a pid namespace of its own this process cannot ask for its id,
/// but that process holds the reading end of `events`.
pub(super) fn end_with_reader(events: &OwnedFd) -> Result<(), RunError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(RunError::setup("prctl"))?;
    let mut polled = [PollFd::new(events, PollFlags::empty())];
    retry_on_intr(|| rustix::event::poll(&mut polled, Some(&Timespec::default())))
        .map_err(RunError::setup("poll"))?;
    if polled[0].revents().contains(PollFlags::ERR) { Err(RunError::Killed) } else { Ok(()) }
}

/// Gives up every right but these, and the way to the user's terminal.
pub(super) fn renounce(kept: &[Capability]) -> Result<(), RunError> {
    let silence = || {
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        rustix::stdio::dup2_stderr(&null)
    };
    silence().map_err(RunError::setup("close standard error"))?;
    capabilities::drop_to(&kept.iter().copied().collect::<CapsHashSet>())
}

/// Waits until the command ends, and reaps the processes that it left behind meanwhile.
pub(super) fn reap(command: Pid) -> Result<Exit, RunError> {
    loop {
        let (pid, status) = retry_on_intr(|| rustix::process::wait(WaitOptions::empty()))
            .map_err(RunError::setup("wait for the command"))?
            .ok_or(RunError::Killed)?;
        if pid == command {
            return Ok(exit_of(status));
        }
    }
}

/// Does as [`reap`], looks at the processes meanwhile, and tells what it saw.
fn reap_and_look(command: Pid, mut sampler: Sampler, events: &OwnedFd) -> Result<Exit, RunError> {
    let failed = |errno: Errno| RunError::setup("wait for the command")(errno);
    let process = rustix::process::pidfd_open(command, PidfdFlags::empty()).map_err(failed)?;
    loop {
        let rest = Timespec::try_from(sampler.rest()).unwrap_or_default();
        let mut polled = [PollFd::new(&process, PollFlags::IN)];
        retry_on_intr(|| rustix::event::poll(&mut polled, Some(&rest))).map_err(failed)?;
        if sampler.rest().is_zero() {
            sampler.look();
        }
        while let Some((pid, status)) =
            retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG)).map_err(failed)?
        {
            if pid == command {
                Event::Usage(sampler.finish()).send(events);
                return Ok(exit_of(status));
            }
        }
    }
}

pub(super) fn exit_of(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}
