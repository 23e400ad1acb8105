//! The main process's side: starting the helper when the first work comes, and handing work over.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::pipe::PipeFlags;
use xbuild_model::records::{Owners, Records};
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Network, ReadyMount, RunRequest};
use xbuild_model::seam::{Namespace, Output, PendingTask, Runner};
use xbuild_model::{Platform, StepFailure};

use crate::binfmt::Registration;
use crate::error::{Errno, SandboxError};
use crate::helper::serve::{self, Message};
use crate::helper::{join, role};
use crate::ladder::{self, Choice, Findings, Isolation};
use crate::step::standby;
use crate::wire;

/// What the namespace of a build shall be like.
#[derive(Debug)]
pub struct Options {
    /// How RUN steps are walled off.
    pub isolation: Isolation,
    /// The emulators that the build needs; registered for this build only.
    pub emulators: Vec<Registration>,
    /// The network of steps that do not say which; [`Network::Default`] means the host's.
    pub network: Network,
    /// Where `newuidmap` and `newgidmap` are looked for, in the form of `PATH`.
    pub search_path: OsString,
}

/// The user namespace of a build. Nothing is started before it is first needed.
///
/// Dropping it ends everything that runs inside; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Parent {
    isolation: Isolation,
    network: Network,
    search_path: OsString,
    emulators: Mutex<Vec<Registration>>,
    choice: OnceLock<Result<Choice, SandboxError>>,
    helper: OnceLock<Result<Helper, SandboxError>>,
    notes: Mutex<BTreeSet<String>>,
}

#[derive(Debug)]
struct Helper {
    /// `None` only while this is dropped.
    sockets: Option<Sockets>,
    keeper: Option<JoinHandle<()>>,
}

/// Where work is sent.
#[derive(Debug)]
struct Sockets {
    tasks: OwnedFd,
    steps: OwnedFd,
}

impl Parent {
    /// Returns the namespace to be.
    pub fn new(options: Options) -> Self {
        Self {
            isolation: options.isolation,
            network: options.network,
            search_path: options.search_path,
            emulators: Mutex::new(options.emulators),
            choice: OnceLock::new(),
            helper: OnceLock::new(),
            notes: Mutex::new(BTreeSet::new()),
        }
    }

    /// Returns the rung in use; does not start anything.
    ///
    /// **Errors** — those of [`ladder::choose`].
    fn choice(&self) -> Result<&Choice, SandboxError> {
        let choose = || ladder::choose(self.isolation, &Findings::untried(&self.search_path));
        self.choice.get_or_init(choose).as_ref().map_err(Clone::clone)
    }

    /// Starts the helper, if it is not running yet.
    fn sockets(&self) -> Result<&Sockets, SandboxError> {
        let start = || Helper::start(self.choice()?, self.take_emulators());
        let helper = self.helper.get_or_init(start).as_ref().map_err(Clone::clone)?;
        helper.sockets.as_ref().ok_or(SandboxError::Gone)
    }

    fn take_emulators(&self) -> Vec<Registration> {
        let mut emulators = self.emulators.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *emulators)
    }

    /// Returns whether a remark of a step is new; users need to see each of them once.
    pub(crate) fn is_news(&self, note: &str) -> bool {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(note.to_owned())
    }

    /// Starts a task; see [`Namespace::start`].
    pub(crate) fn start_task(
        &self,
        name: &'static str,
        request: &[u8],
        fds: &[OwnedFd],
    ) -> Result<Answer, SandboxError> {
        let sockets = self.sockets()?;
        let socket = if name == standby::TASK { &sockets.steps } else { &sockets.tasks };
        let failed = |error: io::Error| SandboxError::Start {
            attempt: format!("the task {name}"),
            source: error.into(),
        };
        let (ours, theirs) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed(errno.into()))?;
        let payload = wire::payload(request).map_err(failed)?;
        let sent: Vec<BorrowedFd<'_>> =
            [&theirs, &payload].into_iter().chain(fds).map(AsFd::as_fd).collect();
        wire::send(socket, name.as_bytes(), &sent).map_err(|error| match error.raw_os_error() {
            Some(libc::EPIPE | libc::ECONNRESET) => SandboxError::Gone,
            _ => failed(error),
        })?;
        Ok(Answer { task: name, pipe: ours })
    }
}

impl Helper {
    fn start(choice: &Choice, emulators: Vec<Registration>) -> Result<Self, SandboxError> {
        let failed = |attempt: &'static str| {
            move |error: io::Error| SandboxError::Start {
                attempt: attempt.to_owned(),
                source: Errno::from(error),
            }
        };
        let (tasks, theirs) = wire::pair().map_err(failed("socketpair"))?;
        let (steps, their_steps) = wire::pair().map_err(failed("socketpair"))?;
        let (tell, told) = mpsc::channel();
        // The kernel ends the helper together with the *thread* that started it, so that must be
        // one that stays.
        let kept = choice.map.clone();
        let keep = move || match role::start(theirs, &kept) {
            Ok(mut child) => {
                let heard = tell.send(Ok(child.id()));
                // It ends by itself when the socket is closed. How is of no interest: whoever
                // waits for an answer notices.
                let ended = child.wait();
                drop((heard, ended));
            }
            Err(error) => drop(tell.send(Err(error))),
        };
        let keeper = std::thread::Builder::new()
            .name("namespace-keeper".to_owned())
            .spawn(keep)
            .map_err(failed("a thread"))?;
        let sockets = Sockets { tasks, steps };
        let helper = Self { sockets: Some(sockets), keeper: Some(keeper) };
        let pid = told
            .recv()
            .map_err(|_| SandboxError::Gone)?
            .map_err(failed("executing xbuild again"))?;
        helper.set_up(pid, choice, &their_steps, emulators)?;
        Ok(helper)
    }

    fn set_up(
        &self,
        pid: u32,
        choice: &Choice,
        steps: &OwnedFd,
        emulators: Vec<Registration>,
    ) -> Result<(), SandboxError> {
        let socket = &self.sockets.as_ref().ok_or(SandboxError::Gone)?.tasks;
        let setup = Message::Setup {
            parent: std::process::id(),
            rung: choice.rung,
            emulators: emulators.iter().map(|e| e.arch.oci_name().to_owned()).collect(),
        };
        let bytes = serde_json::to_vec(&setup)
            .map_err(|error| SandboxError::Protocol { what: error.to_string() })?;
        let interpreters = emulators.iter().map(|e| e.interpreter.as_fd());
        let fds: Vec<_> = std::iter::once(steps.as_fd()).chain(interpreters).collect();
        wire::send(socket, &bytes, &fds).map_err(|_| SandboxError::Gone)?;
        let (Message::Unshared, _) = serve::hear(socket)? else {
            return Err(SandboxError::Protocol { what: "expected the new namespace".to_owned() });
        };
        choice.map.write(pid)?;
        serve::say(socket, &Message::Mapped)?;
        match serve::hear(socket)? {
            (Message::Ready, _) => Ok(()),
            _ => Err(SandboxError::Protocol { what: "expected the end of the set-up".to_owned() }),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.sockets.take());
        if let Some(keeper) = self.keeper.take() {
            // The thread only waits for the helper; it cannot panic.
            let _ = keeper.join();
        }
    }
}

impl Namespace for Parent {
    fn start(
        &self,
        name: &'static str,
        request: Vec<u8>,
        fds: Vec<OwnedFd>,
    ) -> Result<Box<dyn PendingTask>, StepFailure> {
        Ok(Box::new(self.start_task(name, &request, &fds)?))
    }

    fn map_name(&self) -> Result<String, StepFailure> {
        Ok(self.choice()?.map.name())
    }

    fn owners(&self) -> Result<Owners, StepFailure> {
        Ok(self.choice()?.rung.ids().owners())
    }

    fn join(&self, lowers: &[PathBuf], point: &Path) -> Result<(), StepFailure> {
        let request = join::Request { lowers: lowers.to_vec(), point: point.to_owned() };
        let bytes = serde_json::to_vec(&request)
            .map_err(|error| SandboxError::Protocol { what: error.to_string() })?;
        self.start_task(join::TASK, &bytes, &[])?.receive()?;
        Ok(())
    }
}

impl Runner for Parent {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        standby::run(self, self.network, root, request, mounts, output)
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        !standby::runs_on_cpu(platform)
    }
}

/// The answer of a task, to come.
#[derive(Debug)]
pub(crate) struct Answer {
    task: &'static str,
    pipe: OwnedFd,
}

impl Answer {
    /// Waits for the answer.
    pub(crate) fn receive(self) -> Result<Vec<u8>, SandboxError> {
        let mut bytes = Vec::new();
        let task = self.task.to_owned();
        File::from(self.pipe).read_to_end(&mut bytes).map_err(|error| SandboxError::Protocol {
            what: format!("no answer of {task}: {error}"),
        })?;
        match bytes.split_first() {
            None => Err(SandboxError::TaskDied { task }),
            Some((&serve::ANSWER, answer)) => Ok(answer.to_vec()),
            Some((_, message)) => {
                Err(SandboxError::Task { task, message: String::from_utf8_lossy(message).into() })
            }
        }
    }
}

impl PendingTask for Answer {
    fn wait(self: Box<Self>) -> Result<Vec<u8>, StepFailure> {
        Ok(self.receive()?)
    }
}
