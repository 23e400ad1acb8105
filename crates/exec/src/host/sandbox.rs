//! The sandbox of a build, as the main process sees it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::pipe::PipeFlags;
use tracing::{debug, debug_span};
use xbuild_model::owner::IdCounts;
use xbuild_model::records::Owners;
use xbuild_model::rootfs::RootKind;
use xbuild_model::run::Network;
use xbuild_model::seam::{Namespace, PendingTask};
use xbuild_model::{Cancel, Platform, StepFailure};

use super::launch::{Helper, Sockets, Started};
use super::task::Pending;
use crate::arch::Arch;
use crate::binfmt::Registration;
use crate::error::SandboxError;
use crate::ladder::{self, Choice, Findings, Isolation, Refusal};
use crate::protocol::{self, JoinRequest, TwinsRequest};
use crate::twins::TwinSet;
use crate::{network, wire};

/// The properties of a build's sandbox.
#[derive(Debug)]
pub struct Options {
    /// The rung and the root file system that the user allows.
    pub isolation: Isolation,
    /// The rung and the root file system, if they were chosen after trials. Without them, whatever
    /// would have to be tried out counts as possible.
    pub choice: Option<Choice>,
    /// The helper that has made these trials; it goes on as that of the build if it suits the choice.
    pub started: Option<Started>,
    /// The emulators that the build needs; registered for this build only.
    pub emulators: Vec<Registration>,
    /// The emulators that steps of their platforms get by interception of `execve`.
    pub intercepted: Vec<Registration>,
    /// The network of steps that leave the choice open; [`Network::Default`] means the host's.
    pub network: Network,
    /// Where `newuidmap` and `newgidmap` are looked for, in the form of `PATH`.
    pub search_path: OsString,
    /// Ends the steps that run.
    pub cancel: Cancel,
}

/// The sandbox of a build: the user namespace that its steps run in. It implements the seams
/// `Runner` and `Namespace`, and starts the helper when the first work comes.
///
/// Dropping it ends everything that runs inside; so does the end of this process, however it comes.
#[derive(Debug)]
pub struct Sandbox {
    isolation: Isolation,
    /// The network of steps that leave the choice open.
    pub(super) network: Network,
    search_path: OsString,
    pub(super) cancel: Cancel,
    /// Empty once the helper has them.
    emulators: Mutex<Vec<Registration>>,
    /// The architectures of these emulators.
    registered: Vec<Arch>,
    /// The emulators by interception.
    intercepted: Vec<Registration>,
    choice: OnceLock<Result<Choice, SandboxError>>,
    helper: OnceLock<Result<Helper, SandboxError>>,
    /// Empty once a helper was needed.
    started: Mutex<Option<Started>>,
    notes: Mutex<BTreeSet<String>>,
}

impl Sandbox {
    /// Returns a sandbox that is not started yet.
    pub fn new(options: Options) -> Self {
        Self {
            isolation: options.isolation,
            network: options.network,
            search_path: options.search_path,
            cancel: options.cancel,
            registered: options.emulators.iter().map(|emulator| emulator.arch).collect(),
            emulators: Mutex::new(options.emulators),
            intercepted: options.intercepted,
            choice: options.choice.map_or_else(OnceLock::new, |choice| {
                explain(&choice);
                OnceLock::from(Ok(choice))
            }),
            helper: OnceLock::new(),
            started: Mutex::new(options.started),
            notes: Mutex::new(BTreeSet::new()),
        }
    }

    /// Returns the rung in use; does not start anything.
    ///
    /// **Errors** — those of [`ladder::choose`].
    fn choice(&self) -> Result<&Choice, SandboxError> {
        let choose = || {
            let untried = Findings::untried(&self.search_path);
            ladder::choose(self.isolation, &untried).inspect(explain)
        };
        self.choice.get_or_init(choose).as_ref().map_err(Clone::clone)
    }

    /// Starts the helper, if it is not running yet.
    fn sockets(&self) -> Result<&Sockets, SandboxError> {
        let start = || {
            let (choice, emulators) = (self.choice()?, self.take_emulators());
            let span = debug_span!("sandbox", rung = %choice, emulators = emulators.len());
            let pasta = self.pasta();
            let started = self.started.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The helper of a trial prepares steps without networks of their own.
            let started = started.filter(|_| pasta.is_none());
            let helper = started.and_then(|started| started.on(choice, &emulators));
            span.in_scope(|| helper.map_or_else(|| Helper::start(choice, &emulators, pasta), Ok))
        };
        self.helper.get_or_init(start).as_ref().map_err(Clone::clone)?.sockets()
    }

    /// Says that no more steps come; tasks may. What was prepared for the next step ends while the
    /// build goes on, which would have to wait for it at its end.
    pub fn retire_steps(&self) {
        if let Some(Ok(helper)) = self.helper.get() {
            helper.retire_steps();
        }
    }

    /// Returns the program that joins steps' own networks to the host's, if they have such networks. One
    /// that is missing is missed by the step that needs it.
    fn pasta(&self) -> Option<PathBuf> {
        let is_private = self.network == Network::Private;
        is_private.then(|| network::pasta(&self.search_path).ok()).flatten()
    }

    fn take_emulators(&self) -> Vec<Registration> {
        let mut emulators = self.emulators.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *emulators)
    }

    /// Returns the emulators that steps of a platform get by interception; none if the platform needs
    /// no interception.
    pub(super) fn intercepted_in(&self, platform: &Platform) -> &[Registration] {
        let arch = Arch::of(platform);
        let is_needed = self.intercepted.iter().any(|emulator| Some(emulator.arch) == arch);
        if is_needed { &self.intercepted } else { &[] }
    }

    /// Returns whether programs of a platform can have twins: whether its emulator is registered for
    /// this build only, and steps have mounts of their own.
    pub fn takes_twins(&self, platform: &Platform) -> bool {
        let is_registered = Arch::of(platform).is_some_and(|arch| self.registered.contains(&arch));
        is_registered && self.choice().is_ok_and(|choice| choice.rung.way().has_mounts())
    }

    /// Makes the programs of a set known to the kernel. `folder` has the files of the set.
    pub fn register_twins(&self, folder: &Path, set: &TwinSet) -> Result<(), StepFailure> {
        let request = TwinsRequest { folder: folder.to_owned(), set: set.clone() };
        self.start_task(protocol::TWINS, &protocol::to_json(&request)?, &[])?.receive()?;
        Ok(())
    }

    /// Returns whether a remark of a step is new; users need to see each of them once.
    pub(super) fn is_news(&self, note: &str) -> bool {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.insert(note.to_owned())
    }

    /// Starts a task; see [`Namespace::start`].
    pub(super) fn start_task(
        &self,
        name: &'static str,
        request: &[u8],
        fds: &[OwnedFd],
    ) -> Result<Pending, SandboxError> {
        let sockets = self.sockets()?;
        let socket = if name == protocol::RUN { &sockets.steps } else { &sockets.tasks };
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
        Ok(Pending { task: name, pipe: ours })
    }
}

/// Tells whoever traces the build why the rung is no higher one.
fn explain(choice: &Choice) {
    for refusal in &choice.refused {
        let Refusal { need, gap, .. } = refusal;
        debug!(rung = %refusal, %need, why = gap.why, remedy = %gap.how_to_get, "rung out of reach");
    }
}

impl Namespace for Sandbox {
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
        Ok(self.choice()?.map.ids().owners())
    }

    fn id_counts(&self) -> Result<IdCounts, StepFailure> {
        Ok(self.choice()?.map.counts())
    }

    fn root_kind(&self) -> Result<RootKind, StepFailure> {
        Ok(self.choice()?.root)
    }

    fn join(&self, lowers: &[PathBuf], point: &Path) -> Result<(), StepFailure> {
        let request = JoinRequest { lowers: lowers.to_vec(), point: point.to_owned() };
        self.start_task(protocol::JOIN, &protocol::to_json(&request)?, &[])?.receive()?;
        Ok(())
    }
}
