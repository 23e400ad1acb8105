//! Pid 1 of a step: makes what every step has, waits for the request, builds the root file system,
//! starts the command and reaps.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Signal, WaitOptions, WaitStatus};
use rustix::thread::CapabilitySet;
use xbuild_model::passwd::User;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::Exit;

use super::command::{self, Command};
use super::standby::{Event, Spec};
use super::userns::kit::Kit;
use super::userns::root::Root;
use super::userns::run_mounts;
use super::userns::stubs::Recorder;
use super::walk::{self, Missing};
use super::{files, user};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::sys::{self, Fork};
use crate::wire;

/// What pid 1 does; it ends with the command. `reader` is the other end of `events`, which it
/// inherited. `supervisor` brings the request, and is who answers the calls that the filter keeps
/// from the kernel. `ids` are those of the build's namespace.
pub(crate) fn main(ids: Ids, supervisor: OwnedFd, reader: OwnedFd, events: OwnedFd) -> ! {
    drop(reader);
    // What unwinds must not go on as the process that this one was forked from.
    match catch_unwind(AssertUnwindSafe(|| run(ids, supervisor, &events))) {
        Ok(Ok(exit)) => Event::Ended(exit).send(&events),
        Ok(Err(error)) => Event::Failed(error).send(&events),
        Err(_) => {}
    }
    // With this process the kernel ends all that the command left running.
    sys::exit_now(0)
}

fn run(ids: Ids, supervisor: OwnedFd, events: &OwnedFd) -> Result<Exit, RunError> {
    die_with_reader(events)?;
    sys::close_all_but(&[events.as_fd(), supervisor.as_fd()])
        .map_err(RunError::setup("close descriptors"))?;
    rustix::process::umask(Mode::empty());
    sys::unshare(libc::CLONE_NEWNS).map_err(RunError::setup("unshare the mount namespace"))?;
    let kit = Kit::new(ids)?;
    let request = wire::receive(&supervisor).map_err(RunError::setup("wait for the request"))?;
    let (_, mut fds) = request.ok_or(RunError::Killed)?;
    let spec = Spec::read(fds.first())?;
    let RootFs::Overlay(dirs) = &spec.root;
    let joined = if dirs.joined.is_some() { fds.pop() } else { None };
    let [_, stdout, stderr] = <[OwnedFd; 3]>::try_from(fds)
        .map_err(|_| RunError::Invalid { what: "request".into(), value: "no pipes".into() })?;
    let filter = spec.filter()?;
    if spec.isolated {
        sys::unshare(libc::CLONE_NEWNET)
            .map_err(RunError::setup("unshare the network namespace"))?;
    }
    let (command, who) = build_root(&spec, ids, joined, kit, events)?;
    rustix::system::sethostname(spec.hostname.as_bytes()).map_err(|errno| match errno {
        Errno::INVAL => {
            RunError::Invalid { what: "host name".to_owned(), value: spec.hostname.clone() }
        }
        errno => RunError::setup("set the host name")(errno),
    })?;
    // Some containers' filters let one through but not the other. Nothing depends on this one.
    let _ = rustix::system::setdomainname(b"(none)");
    if spec.isolated {
        sys::loopback_up().map_err(RunError::setup("switch the loopback interface on"))?;
    }
    let pid = match sys::fork().map_err(RunError::setup("fork"))? {
        Fork::Parent(pid) => pid,
        Fork::Child => {
            let output = [stdout, stderr];
            let filter = filter.as_ref();
            let error =
                command::become_command(&command, &spec, ids, &who, filter, supervisor, output);
            Event::Failed(error).send(events);
            sys::exit_now(127)
        }
    };
    drop((stdout, stderr, supervisor));
    renounce().map_err(RunError::setup("drop capabilities"))?;
    reap(pid)
}

/// Makes the kernel kill this process with its parent, and makes sure that there still is one: in
/// a pid namespace of its own it cannot ask for its parent's id.
fn die_with_reader(events: &OwnedFd) -> Result<(), RunError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(RunError::setup("prctl"))?;
    let mut polled = [PollFd::new(events, PollFlags::empty())];
    retry_on_intr(|| rustix::event::poll(&mut polled, Some(&Timespec::default())))
        .map_err(RunError::setup("poll"))?;
    if polled[0].revents().contains(PollFlags::ERR) { Err(RunError::Killed) } else { Ok(()) }
}

/// Mounts everything, `joined` being layers that are mounted already, and makes it the root of this
/// process. Returns what to execute there, as whom.
fn build_root(
    spec: &Spec,
    ids: Ids,
    joined: Option<OwnedFd>,
    kit: Kit,
    events: &OwnedFd,
) -> Result<(Command, User), RunError> {
    let RootFs::Overlay(dirs) = &spec.root;
    let staging = kit.staging().try_clone().map_err(RunError::setup("duplicate a descriptor"))?;
    let root = Root::mount(dirs, joined, staging)?;
    // Before anything is mounted over the image's own files.
    let who = user::look_up(&root, &spec.user)?;
    user::check(&spec.user, &who, ids)?;
    let command = Command::new(spec, &who.home)?;
    kit.furnish(&root, spec, &mut |event| event.send(events))?;
    let mut stubs = Recorder::default();
    files::bind_all(&root, spec, &mut stubs)?;
    run_mounts::mount_all(&root, spec, ids, &mut stubs, &mut |event| event.send(events))?;
    let stubs = stubs
        .finish(root.upper.as_fd())
        .map_err(RunError::setup("look at the mount points that were made"))?;
    if !stubs.is_empty() {
        Event::Stubs(stubs).send(events);
    }
    make_working_directory(&root, &spec.cwd)?;
    root.enter()?;
    Ok((command, who))
}

/// Makes the working directory if it is missing. It is part of the image from then on.
fn make_working_directory(root: &Root, path: &str) -> Result<(), RunError> {
    let failed =
        |errno: Errno| RunError::WorkingDirectory { path: path.to_owned(), source: errno.into() };
    if !path.starts_with('/') {
        return Err(failed(Errno::INVAL));
    }
    walk::locate(root.fd.as_fd(), path.as_bytes(), Missing::MakeFolder).map_err(failed)?;
    Ok(())
}

/// Gives up every right and the way to the user's terminal.
fn renounce() -> Result<(), Errno> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stderr(&null)?;
    user::drop_to(CapabilitySet::empty())
}

/// Waits until the command ends. What it left behind gets reaped meanwhile.
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
