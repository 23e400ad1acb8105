//! A step that waits for its request, and its process until the command has ended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::Exit;

use super::init;
use super::userns::{namespaces, overlay, stubs};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::{Event, Outcome, StepRequest};
use crate::supervisor::{self, Stop};
use crate::sys::{self, Fork};
use crate::wire;

/// A step that waits for its request: its namespaces and its pid 1 are there.
#[derive(Debug)]
pub(crate) struct Standby(Result<Processes, RunError>);

#[derive(Debug)]
struct Processes {
    ids: Ids,
    init: Pid,
    /// The events of pid 1 come through it.
    events: OwnedFd,
    /// Takes the request, brings the listener for system calls.
    channel: OwnedFd,
}

impl Standby {
    /// Prepares a step in the process of its task; `ids` are those of the build's namespace. An
    /// error is kept for whoever asks for the step.
    pub(crate) fn new(ids: Ids) -> Self {
        Self(Processes::start(ids))
    }

    /// Returns the descriptors that it needs.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let processes = self.0.as_ref().ok().into_iter();
        processes.flat_map(|p| [p.events.as_fd(), p.channel.as_fd()]).collect()
    }

    /// Runs the step; `fds` are those of a [`StepRequest`]. Returns an [`Outcome`].
    pub(crate) fn run(self, fds: Vec<OwnedFd>) -> Result<Vec<u8>, String> {
        let (mut records, mut notes) = (Records::default(), Vec::new());
        let result = self.0.and_then(|processes| processes.run(fds, &mut records, &mut notes));
        serde_json::to_vec(&Outcome { result, records, notes }).map_err(|error| error.to_string())
    }
}

impl Processes {
    fn start(ids: Ids) -> Result<Self, RunError> {
        namespaces::enter()?;
        let (events, events_end) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(RunError::setup("pipe"))?;
        let (channel, channel_end) = wire::pair().map_err(RunError::setup("socketpair"))?;
        match sys::fork().map_err(RunError::setup("fork"))? {
            Fork::Child => init::main(ids, channel_end, events, events_end),
            Fork::Parent(init) => Ok(Self { ids, init, events, channel }),
        }
    }

    fn run(
        self,
        mut fds: Vec<OwnedFd>,
        records: &mut Records,
        notes: &mut Vec<String>,
    ) -> Result<Exit, RunError> {
        let Self { ids, init, events, channel } = self;
        let stop = fds.pop().map(|line| Stop { line, init });
        // Pid 1 shares the place in the file, so it reads the request after this process.
        let request = StepRequest::read(fds.first())?;
        let (joined, changes) = match &request.root {
            RootFs::Overlay(dirs) => (dirs.joined.as_ref(), &dirs.upper),
            RootFs::Folder(folder) => (None, &folder.path),
        };
        let joined = joined.map(|joined| overlay::copy(&joined.point)).transpose()?;
        let sent: Vec<BorrowedFd<'_>> = fds.iter().chain(&joined).map(AsFd::as_fd).collect();
        // A pid 1 that is gone has said why in an event.
        let _ = wire::send(&channel, b"step", &sent);
        drop(sent);
        drop(joined);
        // Whoever reads the output waits for the last of these to be closed.
        drop(fds);
        let text = supervisor::attend(ids, events, channel, stop, records)?;
        retry_on_intr(|| rustix::process::waitpid(Some(init), WaitOptions::empty()))
            .map_err(RunError::setup("wait for the step"))?;
        let mut result = Err(RunError::Killed);
        for event in Event::read_all(&text) {
            match event {
                Event::Stubs(made) => stubs::remove(&made, changes)?,
                Event::Note(note) => notes.push(note),
                Event::Ended(exit) if matches!(result, Err(RunError::Killed)) => result = Ok(exit),
                Event::Ended(_) => {}
                Event::Failed(error) => result = Err(error),
            }
        }
        result
    }
}
