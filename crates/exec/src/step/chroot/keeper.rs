//! The process above the command: it starts the command, adopts what that leaves behind, and ends
//! it. In a pid namespace it is pid 1.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use caps::Capability;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, WaitOptions};
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, ReadyMount, ReadySource, Security};

use super::descendants;
use crate::capabilities;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::{Event, StepRequest};
use crate::seccomp::{Filter, Stops};
use crate::step::command::{Command, Prepared, Watched};
use crate::step::intercept::Emulators;
use crate::step::streams::Connected;
use crate::step::userns::{mounts, namespaces};
use crate::step::{init, user, walk};
use crate::supervisor::{Ground, StepPlace};
use crate::sys;
use crate::way::Way;
use crate::wire;

/// The place of a keeper.
#[derive(Debug, Clone, Copy)]
pub(in crate::step) struct Post {
    pub(in crate::step) way: Way,
    pub(in crate::step) ids: Ids,
    /// Whether it is pid 1 of a pid namespace. Then it has a host name of its own, too.
    pub(in crate::step) is_first: bool,
}

/// The life of the process; see [`init::main`] for the arguments.
pub(in crate::step) fn main(
    post: Post,
    supervisor: OwnedFd,
    reader: OwnedFd,
    events: OwnedFd,
) -> ! {
    drop(reader);
    // A panic must not unwind into the frames of the process that this one was forked from.
    match catch_unwind(AssertUnwindSafe(|| run(post, supervisor, &events))) {
        Ok(Ok(exit)) => Event::Ended(exit).send(&events),
        Ok(Err(error)) => Event::Failed(error).send(&events),
        Err(_) => {}
    }
    sys::exit_now(0)
}

fn run(post: Post, supervisor: OwnedFd, events: &OwnedFd) -> Result<Exit, RunError> {
    if post.is_first {
        init::end_with_reader(events)?;
    } else {
        descendants::adopt()?;
    }
    sys::close_all_but(&[events.as_fd(), supervisor.as_fd()])
        .map_err(RunError::setup("close descriptors"))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    let mut fds = receive(&supervisor)?;
    let request = StepRequest::read(fds.first())?;
    let streams = request.take_streams(&mut fds);
    let files = fds.split_off(fds.len().min(2));
    let [_, output] = <[OwnedFd; 2]>::try_from(fds)
        .map_err(|_| RunError::Invalid { what: "request".into(), value: "no pipe".into() })?;
    let emulators = Emulators::new(request.emulators(files)?);
    let streams = Connected::new(&request, output, streams)?;
    let prepared = prepare(post, &request, emulators.is_some(), (supervisor, streams), events)?;
    let children = children_blocked()?;
    let started = init::start_command(prepared, &request, emulators.is_some(), events)?;
    // The command, and what it started, may have become another user's.
    let mut kept = Vec::new();
    kept.extend((!post.is_first).then_some(Capability::CAP_KILL));
    if emulators.is_some() {
        // A tracer without that right needs those of the processes that it traces.
        match capabilities::has_all(&[Capability::CAP_SYS_PTRACE]) {
            true => kept.push(Capability::CAP_SYS_PTRACE),
            false => kept.extend(caps::all()),
        }
    }
    init::renounce(&kept)?;
    let exit = match emulators {
        // The kernel ends what is traced together with this process.
        Some(emulators) => {
            init::end_with_reader(events)?;
            init::trace(&started, &emulators, events)
        }
        None if post.is_first => init::reap(started.pid),
        None => watch(started.pid, &children, events),
    };
    if !post.is_first {
        descendants::end_all(Some(started.pid))?;
    }
    exit
}

/// Reads the image, lets the supervisor make the place of the step, and returns what the command's
/// process needs.
fn prepare(
    post: Post,
    request: &StepRequest,
    traced: bool,
    (supervisor, streams): (OwnedFd, Connected),
    events: &OwnedFd,
) -> Result<Prepared, RunError> {
    let RootFs::Folder(folder) = &request.root else {
        return Err(RunError::Invalid { what: "root file system".into(), value: "overlay".into() });
    };
    let root = mounts::open_trusted(&folder.path)?;
    // Before files of the image are covered.
    let who = user::look_up(root.as_fd(), &request.run.user)?;
    let command = Command::new(&request.run, &who.home)?;
    wire::send(&supervisor, b"ready", &[]).map_err(RunError::setup("prepare the step"))?;
    receive(&supervisor)?;
    walk::make_working_directory(root.as_fd(), &request.run.cwd)?;
    if post.is_first {
        namespaces::set_host_name(&request.run.hostname)?;
    }
    if request.is_isolated() {
        namespaces::enter_network()?;
    }
    let below = Ground::below(post.ids, request)?;
    let owners = init::recorded(below.as_ref());
    let stops = Stops { traced, owners, ..Stops::default() };
    let (filter, watched) = filter(request, stops, folder.is_own)?;
    let no_new_privs = filter.is_some() && needs_no_new_privs();
    notes(post, folder.is_own, no_new_privs).for_each(|note| Event::Note(note).send(events));
    Ok(Prepared {
        command,
        who,
        ids: post.ids,
        root: (!folder.is_own).then_some(root),
        no_new_privs,
        watched,
        has_others: below.is_some_and(|below| below.has_others),
        around: StepPlace::default(),
        filter,
        supervisor,
        streams,
        start: None,
    })
}

/// Returns whether a filter of system calls can be installed only if programs gain no rights any
/// more.
pub(crate) fn needs_no_new_privs() -> bool {
    !capabilities::has_all(&[Capability::CAP_SYS_ADMIN])
}

/// Returns the filter of the step's system calls, and what its supervisor stands in for. An insecure
/// step has no supervisor.
fn filter(
    request: &StepRequest,
    stops: Stops,
    is_own: bool,
) -> Result<(Option<Filter>, Watched), RunError> {
    let is_secret = |mount: &ReadyMount| matches!(mount.source, ReadySource::Secret { .. });
    let has_secrets = request.mounts.iter().any(is_secret);
    match (request.run.security, has_secrets) {
        (Security::Insecure, true) => Err(RunError::NotHere {
            what: "a secret as a file of a RUN --security=insecure".to_owned(),
            why: "no file system in memory can be mounted".to_owned(),
        }),
        (Security::Insecure, false) => Ok((init::filter(request, stops)?, Watched::Nothing)),
        // Its `/proc` and `/dev` are real.
        (Security::Sandbox, false) if is_own => {
            Ok((init::filter(request, stops)?, Watched::Nothing))
        }
        (Security::Sandbox, _) => {
            let filter =
                init::filter(request, Stops { watched: true, names_programs: true, ..stops })?;
            Ok((filter, if has_secrets { Watched::Secrets } else { Watched::System }))
        }
    }
}

fn receive(supervisor: &OwnedFd) -> Result<Vec<OwnedFd>, RunError> {
    let received = wire::receive(supervisor).map_err(RunError::setup("wait for the request"))?;
    received.map(|(_, fds)| fds).ok_or(RunError::Killed)
}

/// Returns the remarks that are due on these rungs.
fn notes(post: Post, is_own: bool, no_new_privs: bool) -> impl Iterator<Item = String> {
    let open = match post.way {
        Way::Caller if is_own => {
            "RUN steps are not isolated from xbuild: with isolation chroot=/ the root of the \
             container is theirs, with xbuild's files and processes"
        }
        Way::Caller => {
            "RUN steps are not isolated from xbuild: with isolation chroot they can reach the \
             files and processes of the container that xbuild runs in"
        }
        Way::Mounts | Way::Users => {
            "RUN steps are not isolated from xbuild: with isolation userns-chroot they can reach \
             the files that xbuild can reach"
        }
    };
    let rights = "programs of RUN steps cannot gain rights (sudo, set-user-ID, file capabilities): \
                  the filter of system calls implies no_new_privs without CAP_SYS_ADMIN";
    std::iter::once(open).chain(no_new_privs.then_some(rights)).map(str::to_owned)
}

/// Keeps the signal that a child has ended for whoever reads the result.
fn children_blocked() -> Result<SignalFd, RunError> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    let make = || {
        signals.thread_block()?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
    };
    make().map_err(RunError::setup("wait for signals"))
}

/// Waits until the command ends, and reaps adopted processes meanwhile.
///
/// **Errors** — also if the process that watches the step is gone.
fn watch(command: Pid, children: &SignalFd, events: &OwnedFd) -> Result<Exit, RunError> {
    loop {
        while let Some((pid, status)) = retry_on_intr(|| rustix::process::wait(WaitOptions::NOHANG))
            .map_err(RunError::setup("wait for the command"))?
        {
            if pid == command {
                return Ok(init::exit_of(status));
            }
        }
        let children_fd = children.as_fd();
        let mut polled =
            [PollFd::new(&children_fd, PollFlags::IN), PollFd::new(events, PollFlags::empty())];
        retry_on_intr(|| rustix::event::poll(&mut polled, None))
            .map_err(RunError::setup("wait for the command"))?;
        if polled[1].revents().contains(PollFlags::ERR) {
            return Err(RunError::Killed);
        }
        // Which child it was is asked above.
        while let Ok(Some(_)) = children.read_signal() {}
    }
}
