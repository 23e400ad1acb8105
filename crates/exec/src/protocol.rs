//! The messages between the processes of a sandbox.
//!
//! ```text
//! main process (host) ── Message, both ways, until the helper is ready
//!   │                 ── task: its name, with descriptors: answer pipe, request, the task's own
//!   │                 <─ Answer, through the pipe of the task
//! helper
//!   ├─ task's process: reads the request of the task
//!   └─ step's watcher: reads a StepRequest, answers with an Outcome
//!        │ <─ Event, one line each
//!      pid 1 of the step: reads the same StepRequest
//! ```
//!
//! Messages are JSON. They never leave the machine, and both ends are the same program, so they
//! carry no version.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use xbuild_model::TaskFailure;
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, Network, ReadyMount, RunRequest};

use crate::arch::Arch;
use crate::error::{RunError, SandboxError};
use crate::idmap::Ids;
use crate::twins::{StepTwins, TwinSet, Usage};
use crate::way::Way;
use crate::wire;

/// The `argv[0]` of the helper: it tells the program its role, and process listings show it.
pub(crate) const HELPER: &str = "xbuild-namespace";

/// The task that runs a step. It has processes and a socket of its own.
pub(crate) const RUN: &str = "exec.run";

/// The task that joins layers: it mounts them as a [`JoinRequest`] says.
pub(crate) const JOIN: &str = "exec.join";

/// The task that tells the kernel which programs have twins.
pub(crate) const TWINS: &str = "exec.twins";

// ---- Until the helper is ready -------------------------------------------------------------

/// A message before the first task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// To the helper: its work. Descriptors: the socket for steps, a pipe for reports if
    /// there is a trial, then each emulator.
    Setup(Setup),
    /// From the helper: its id map, if it needs one, can be written now.
    Unshared,
    /// To the helper: the id map is written.
    Mapped,
    /// From the helper: it takes tasks from here on.
    Ready,
    /// From the helper, which then ends.
    Failed(SandboxError),
}

/// The facts that the helper needs about the build.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The process id of the main process.
    pub(crate) main: u32,
    /// The namespaces to enter.
    pub(crate) way: Way,
    /// The ids that exist there.
    pub(crate) ids: Ids,
    /// The architectures to emulate, in OCI terms.
    pub(crate) emulators: Vec<String>,
    /// The program that joins steps' own networks to the host's, if the build's steps have such.
    pub(crate) pasta: Option<PathBuf>,
    /// A trial of the place of a step.
    pub(crate) trial: Option<TrialSetup>,
}

/// The facts that a trial needs beside those of the build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TrialSetup {
    /// `None` if no folder can be made; then no root file system is tried out.
    pub(crate) folders: Option<TrialFolders>,
}

/// The folders of a trial, on the file system of the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TrialFolders {
    /// It has the program of the trial.
    pub(crate) lower: PathBuf,
    pub(crate) upper: PathBuf,
    pub(crate) work: PathBuf,
}

impl Message {
    /// Sends the message.
    pub(crate) fn send(
        &self,
        socket: impl AsFd,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), SandboxError> {
        wire::send(socket, &to_json(self)?, fds).map_err(|_| SandboxError::Gone)
    }

    /// Receives a message. One that says that the helper failed is returned as that error.
    pub(crate) fn receive(socket: impl AsFd) -> Result<(Self, Vec<OwnedFd>), SandboxError> {
        let received = wire::receive(socket).map_err(|_| SandboxError::Gone)?;
        let (bytes, fds) = received.ok_or(SandboxError::Gone)?;
        match from_json(&bytes)? {
            Self::Failed(error) => Err(error),
            message => Ok((message, fds)),
        }
    }
}

/// Returns the bytes of a message.
pub(crate) fn to_json(message: &impl Serialize) -> Result<Vec<u8>, SandboxError> {
    serde_json::to_vec(message).map_err(|error| SandboxError::Protocol { what: error.to_string() })
}

/// Reads the bytes of a message.
pub(crate) fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, SandboxError> {
    serde_json::from_slice(bytes)
        .map_err(|error| SandboxError::Protocol { what: error.to_string() })
}

// ---- Tasks ---------------------------------------------------------------------------------

/// The first byte of an answer that is a result.
const RESULT: u8 = 0;
/// The first byte of an answer that is a failure.
const REFUSAL: u8 = 1;

/// The answer of a task: its result, or a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer(pub(crate) Result<Vec<u8>, TaskFailure>);

impl Answer {
    /// Writes the answer to the pipe of its task. An error means that nobody waits for it.
    pub(crate) fn send(&self, pipe: impl AsFd) {
        let (kind, bytes) = match &self.0 {
            Ok(bytes) => (RESULT, Cow::from(bytes)),
            // A failure is words and a kind, which JSON can always hold.
            Err(failure) => (REFUSAL, serde_json::to_vec(failure).unwrap_or_default().into()),
        };
        write_all(pipe, &[&[kind], &*bytes].concat());
    }

    /// Returns the answer that came through a pipe; `None` if its process ended without one.
    pub(crate) fn from_bytes(mut bytes: Vec<u8>) -> Option<Self> {
        let kind = *bytes.first()?;
        bytes.remove(0);
        Some(Self(match kind {
            RESULT => Ok(bytes),
            _ => Err(serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())),
        }))
    }
}

/// The request of [`JOIN`]; see [`xbuild_model::seam::Namespace::join`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct JoinRequest {
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) point: PathBuf,
}

/// The request of [`TWINS`]: the folder of a set, and the set.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TwinsRequest {
    pub(crate) folder: PathBuf,
    pub(crate) set: TwinSet,
}

// ---- Steps ---------------------------------------------------------------------------------

/// The standard streams of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Streams {
    /// Nothing to read; output and errors go to the pipe of the request.
    Output,
    /// Three descriptors that come with the request.
    Three,
    /// A terminal of the step's own. Its other side goes to the socket that comes with the request.
    Terminal,
}

impl Streams {
    /// Returns the number of descriptors that come with the request.
    fn descriptors(self) -> usize {
        match self {
            Self::Output => 0,
            Self::Three => 3,
            Self::Terminal => 1,
        }
    }
}

/// The request of [`RUN`]. Descriptors: its file, the pipe for standard output and
/// error, each emulator, those of the streams, and a pipe whose other end is closed to end the step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StepRequest {
    /// The folders, without those that are joined.
    pub(crate) root: RootFs,
    /// The command. The host has chosen the network and put all variables into `env`.
    pub(crate) run: RunRequest,
    /// The mounts, in place of those that `run` names.
    pub(crate) mounts: Vec<ReadyMount>,
    /// The architectures whose programs get an emulator by interception of `execve`, in OCI terms.
    pub(crate) intercepted: Vec<String>,
    /// The standard streams of the command.
    pub(crate) streams: Streams,
    /// The programs that have twins.
    pub(crate) twins: Vec<StepTwins>,
    /// Whether programs are counted; in steps with mounts only.
    pub(crate) counted: bool,
}

impl StepRequest {
    /// Returns whether the step has a network namespace of its own, with a loopback interface only.
    pub(crate) fn is_isolated(&self) -> bool {
        self.run.network == Network::None
    }

    /// Returns whether the step has a network namespace of its own.
    pub(crate) fn has_own_network(&self) -> bool {
        matches!(self.run.network, Network::None | Network::Private)
    }

    /// Takes the descriptors of the streams from those that came with the request.
    pub(crate) fn take_streams(&self, files: &mut Vec<OwnedFd>) -> Vec<OwnedFd> {
        files.split_off(files.len().saturating_sub(self.streams.descriptors()))
    }

    /// Returns the emulators by their architectures; `files` came with the request.
    pub(crate) fn emulators(&self, files: Vec<OwnedFd>) -> Result<Vec<(Arch, OwnedFd)>, RunError> {
        let named = |(name, file): (&String, OwnedFd)| {
            let arch = Arch::ALL.into_iter().find(|arch| arch.oci_name() == name);
            let invalid = || RunError::Invalid { what: "architecture".into(), value: name.clone() };
            Ok((arch.ok_or_else(invalid)?, file))
        };
        self.intercepted.iter().zip(files).map(named).collect()
    }

    /// Reads the file that was sent.
    pub(crate) fn read(file: Option<&OwnedFd>) -> Result<Self, RunError> {
        let invalid = |value: String| RunError::Invalid { what: "request".to_owned(), value };
        let file = file.ok_or_else(|| invalid("nothing".to_owned()))?;
        let bytes = file.try_clone().and_then(wire::read_payload);
        let bytes = bytes.map_err(RunError::setup("read the request"))?;
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))
    }
}

/// The answer of [`RUN`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) result: Result<Exit, RunError>,
    /// Facts for the layer.
    pub(crate) records: Records,
    /// Remarks for the user.
    pub(crate) notes: Vec<String>,
    /// The programs that were counted.
    pub(crate) usage: Option<Usage>,
}

/// A report of the step's pid 1, or of the command's process before it becomes the command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Mount points were made that must be removed after the step.
    Stubs(Stubs),
    /// A remark for the user.
    Note(String),
    /// The step cannot be set up, or the command cannot be executed.
    Failed(RunError),
    /// The programs that were counted.
    Usage(Usage),
    /// The command has ended.
    Ended(Exit),
}

impl Event {
    /// Writes the event to the pipe, in one line. An error means that nobody reads it.
    pub(crate) fn send(&self, pipe: impl AsFd) {
        let Ok(mut line) = serde_json::to_vec(self) else { return };
        line.push(b'\n');
        write_all(pipe, &line);
    }

    /// Returns the events that came through a pipe. A line that its writer did not live to finish
    /// is skipped.
    pub(crate) fn read_all(text: &[u8]) -> impl Iterator<Item = Self> {
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
    }
}

/// The mount points that were made for a step, and the folders that changed because of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stubs {
    /// The files and folders, outer ones first.
    pub(crate) made: Vec<Stub>,
    /// The folders that were copied up because of it, outer ones first.
    pub(crate) copied_up: Vec<CopiedUp>,
}

/// A mount point in the folder of changes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stub {
    pub(crate) path: Vec<u8>,
    pub(crate) folder: bool,
    pub(crate) inode: u64,
}

/// A folder around a mount point, in the folder of changes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CopiedUp {
    pub(crate) path: Vec<u8>,
    pub(crate) inode: u64,
    /// When the inode last changed: seconds, nanoseconds.
    pub(crate) changed: (i64, i64),
    pub(crate) mode: u32,
}

fn write_all(pipe: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match retry_on_intr(|| rustix::io::write(&pipe, bytes)) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use xbuild_model::FailureKind;

    use super::*;

    #[test]
    fn answers_are_results_or_messages() {
        let read = |bytes: &[u8]| Answer::from_bytes(bytes.to_vec()).map(|answer| answer.0);
        assert_eq!(read(b"\0"), Some(Ok(Vec::new())));
        assert_eq!(read(b"\0done"), Some(Ok(b"done".to_vec())));
        assert_eq!(read(b"\x01no"), Some(Err("no".to_owned().into())));
        let failure = TaskFailure { kind: FailureKind::Step, message: "no".into(), hint: None };
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        Answer(Err(failure.clone())).send(&writer);
        drop(writer);
        let mut sent = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(reader), &mut sent).unwrap();
        assert_eq!(read(&sent), Some(Err(failure)));
        assert_eq!(read(b""), None);
    }

    #[test]
    fn events_are_read_up_to_one_that_was_cut_off() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        Event::Note("a\nb".to_owned()).send(&writer);
        Event::Ended(Exit::Code(3)).send(&writer);
        write_all(&writer, b"{\"Note\":\"cut o");
        drop(writer);
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::fs::File::from(reader), &mut text).unwrap();
        let events: Vec<Event> = Event::read_all(&text).collect();
        assert!(
            matches!(&events[..], [Event::Note(note), Event::Ended(Exit::Code(3))] if note == "a\nb"),
            "{events:?}"
        );
    }
}
