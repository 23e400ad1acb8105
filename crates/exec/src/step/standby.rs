//! A step that waits for its request, and its process until the command has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, Network};

use super::chroot::descendants;
use super::chroot::keeper::{self, Post};
use super::chroot::stage::Stage;
use super::init;
use super::own_network::OwnNetwork;
use super::stubs;
use super::userns::{namespaces, overlay};
use crate::arch::Arch;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::{Event, Outcome, StepRequest};
use crate::supervisor::{self, Ground, Machine, Scene, Stop};
use crate::sys::{self, Fork};
use crate::twins::Usage;
use crate::way::Way;
use crate::wire;

/// A step that waits for its request: its namespaces and its pid 1 are there.
#[derive(Debug)]
pub(crate) struct Standby(Result<Processes, RunError>);

/// The news of a step beside its end.
#[derive(Debug, Default)]
struct Told {
    notes: Vec<String>,
    usage: Option<Usage>,
}

#[derive(Debug)]
struct Processes {
    post: Post,
    init: Pid,
    /// The events of pid 1 come through it.
    events: OwnedFd,
    /// Takes the request, brings the listener for system calls.
    channel: OwnedFd,
    /// The network, if the build's steps have their own.
    network: Option<OwnNetwork>,
}

impl Standby {
    /// Prepares a step in the process of its task; `way` and `ids` are those of the build, `pasta` joins
    /// networks of steps to the host's. An error is kept for whoever asks for the step.
    pub(crate) fn new(way: Way, ids: Ids, pasta: Option<&Path>) -> Self {
        Self(Processes::start(way, ids, pasta))
    }

    /// Returns the descriptors that it needs.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let Ok(processes) = &self.0 else { return Vec::new() };
        let network = processes.network.iter().flat_map(OwnNetwork::descriptors);
        network.chain([processes.events.as_fd(), processes.channel.as_fd()]).collect()
    }

    /// Runs the step; `fds` are those of a [`StepRequest`]. Returns an [`Outcome`].
    pub(crate) fn run(self, fds: Vec<OwnedFd>) -> Result<Vec<u8>, String> {
        let (mut records, mut told) = (Records::default(), Told::default());
        let result = self.0.and_then(|processes| processes.run(fds, &mut records, &mut told));
        let Told { notes, usage } = told;
        serde_json::to_vec(&Outcome { result, records, notes, usage })
            .map_err(|error| error.to_string())
    }
}

impl Processes {
    fn start(way: Way, ids: Ids, pasta: Option<&Path>) -> Result<Self, RunError> {
        // Before the pid namespace: the step must not see the process.
        let network = pasta.map(OwnNetwork::start).transpose()?;
        let is_first = match way {
            Way::Mounts => namespaces::enter().map(|()| true)?,
            // The keeper does without, as it does on the next rung.
            Way::Users => namespaces::enter().is_ok(),
            Way::Caller => false,
        };
        if !is_first {
            // In case that the keeper is killed.
            descendants::adopt()?;
        }
        let post = Post { way, ids, is_first };
        let (events, events_end) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(RunError::setup("pipe"))?;
        let (channel, channel_end) = wire::pair().map_err(RunError::setup("socketpair"))?;
        match sys::fork().map_err(RunError::setup("fork"))? {
            Fork::Child if way.has_mounts() => init::main(ids, channel_end, events, events_end),
            Fork::Child => keeper::main(post, channel_end, events, events_end),
            Fork::Parent(init) => Ok(Self { post, init, events, channel, network }),
        }
    }

    fn run(
        self,
        mut fds: Vec<OwnedFd>,
        records: &mut Records,
        told: &mut Told,
    ) -> Result<Exit, RunError> {
        let stop = fds.pop();
        // Pid 1 shares the place in the file, so it reads the request after this process.
        let request = StepRequest::read(fds.first())?;
        // The kernel ends what is traced with the tracer.
        let ends_all = self.post.is_first || !request.intercepted.is_empty();
        let stop = stop.map(|line| Stop { line, init: ends_all.then_some(self.init) });
        if !self.post.way.has_mounts() {
            return self.run_in_folder(&request, fds, stop, records, told);
        }
        let Self { post: Post { ids, .. }, init, events, channel, network } = self;
        let owners = Ground::read(ids, &request)?;
        let (joined, changes) = match &request.root {
            RootFs::Overlay(dirs) => (dirs.joined.as_ref(), &dirs.upper),
            RootFs::Folder(folder) => (None, &folder.path),
        };
        let joined = joined.map(|joined| overlay::copy(&joined.point)).transpose()?;
        let is_private = request.run.network == Network::Private;
        let namespace = network.as_ref().filter(|_| is_private).map(OwnNetwork::namespace);
        let files = fds.iter().chain(&joined).map(AsFd::as_fd);
        let sent: Vec<BorrowedFd<'_>> = files.chain(namespace).collect();
        // A pid 1 that is gone has said why in an event.
        let _ = wire::send(&channel, b"step", &sent);
        drop(sent);
        drop(joined);
        // Whoever reads the output waits for the last of these to be closed.
        drop(fds);
        let scene = Scene { owners, machine: machine(&request), ..Scene::default() };
        let text = supervisor::attend(ids, scene, events, channel, stop, records)?;
        retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()))
            .map_err(RunError::setup("wait for the step"))?;
        for event in Event::read_all(&text) {
            if let Event::Stubs(made) = event {
                stubs::remove(&made, changes)?;
            }
        }
        conclude(&text, told)
    }

    /// Runs the step where nothing can be mounted: this process makes the place of the step, and
    /// restores it afterwards.
    fn run_in_folder(
        self,
        request: &StepRequest,
        fds: Vec<OwnedFd>,
        stop: Option<Stop>,
        records: &mut Records,
        told: &mut Told,
    ) -> Result<Exit, RunError> {
        let Self { post, init, events, channel, network: _ } = self;
        if request.is_isolated() && !post.way.has_users() {
            return Err(RunError::NotHere {
                what: "RUN --network=none".to_owned(),
                why: "a network namespace is refused".to_owned(),
            });
        }
        if request.run.network == Network::Private {
            return Err(RunError::NotHere {
                what: "--network private".to_owned(),
                why: "nothing can be mounted".to_owned(),
            });
        }
        let owners = Ground::read(post.ids, request)?;
        let mut stage = Stage::open(request)?;
        let sent: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        // A keeper that is gone has said why in an event.
        let _ = wire::send(&channel, b"step", &sent);
        drop(fds);
        let is_ready = wire::receive(&channel).is_ok_and(|message| message.is_some());
        let furnished = match is_ready {
            true => stage.furnish(request, post.ids, &mut |note| told.notes.push(note)),
            false => Ok(()),
        };
        if furnished.is_ok() {
            let _ = wire::send(&channel, b"go", &[]);
            let scene = Scene { is_watched: true, owners, ..stage.scene() };
            let attended = supervisor::attend(post.ids, scene, events, channel, stop, records);
            let ended = end(post, init);
            stage.lift()?;
            ended?;
            conclude(&attended?, told)
        } else {
            // The keeper ends when it finds the channel closed.
            drop((channel, events));
            let ended = end(post, init);
            stage.lift()?;
            furnished.and(ended).and(Err(RunError::Killed))
        }
    }
}

/// Returns the machine that a step with twins believes to be on.
fn machine(request: &StepRequest) -> Option<Machine> {
    let twins = request.twins.first()?;
    let arch = Arch::ALL.into_iter().find(|arch| arch.oci_name() == twins.set.architecture)?;
    Some(Machine { name: arch.machine_name(), host: request.run.hostname.clone() })
}

/// Waits for the keeper, and ends whatever it left.
fn end(post: Post, init: Pid) -> Result<(), RunError> {
    retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()))
        .map_err(RunError::setup("wait for the step"))?;
    if post.is_first { Ok(()) } else { descendants::end_all(None) }
}

/// Returns the result of a step from the text of its events, and collects the remarks in it.
fn conclude(text: &[u8], told: &mut Told) -> Result<Exit, RunError> {
    let mut result = Err(RunError::Killed);
    for event in Event::read_all(text) {
        match event {
            Event::Stubs(_) => {}
            Event::Note(note) => told.notes.push(note),
            Event::Usage(usage) => told.usage = Some(usage),
            Event::Ended(exit) if matches!(result, Err(RunError::Killed)) => result = Ok(exit),
            Event::Ended(_) => {}
            Event::Failed(error) => result = Err(error),
        }
    }
    result
}
