//! The command's process, from the fork to the moment when it becomes the command.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, OwnedFd};

use nix::errno::Errno as Refused;
use rustix::fs::Mode;
use rustix::io::{Errno, retry_on_intr};
use rustix::process::DumpableBehavior;
use xbuild_model::Platform;
use xbuild_model::passwd::User;
use xbuild_model::run::RunRequest;

use super::streams::Connected;
use super::{limits, user};
use crate::arch::Arch;
use crate::error::{RunError, in_words};
use crate::idmap::Ids;
use crate::protocol::{self, Event};
use crate::seccomp::{self, Filter};
use crate::supervisor::StepPlace;
use crate::{sys, wire};

/// The arguments of `execve`, worked out ahead.
#[derive(Debug)]
pub(super) struct Command {
    /// The paths to try: that of the program, or one in each folder of `PATH`.
    candidates: Vec<CString>,
    argv: Vec<CString>,
    env: Vec<CString>,
    path: Option<String>,
}

impl Command {
    /// Works out the arguments, for a user with that home.
    pub(super) fn new(run: &RunRequest, home: &str) -> Result<Self, RunError> {
        let text = |what: &str, value: &str| {
            CString::new(value)
                .map_err(|_| RunError::Invalid { what: what.to_owned(), value: value.to_owned() })
        };
        let argv =
            run.argv.iter().map(|arg| text("argument", arg)).collect::<Result<Vec<_>, _>>()?;
        let program = run.argv.first().filter(|program| !program.is_empty());
        let program = program.ok_or_else(|| RunError::Invalid {
            what: "command".to_owned(),
            value: run.argv.join(" "),
        })?;
        let mut env = Vec::new();
        for (name, value) in &run.env {
            if name.is_empty() || name.contains('=') {
                return Err(RunError::Invalid {
                    what: "environment variable".to_owned(),
                    value: name.clone(),
                });
            }
            env.push(text("environment variable", &format!("{name}={value}"))?);
        }
        let value = |name: &str| run.env.iter().find(|(known, _)| known == name).map(|(_, v)| v);
        if value("HOME").is_none() {
            env.push(text("home folder", &format!("HOME={home}"))?);
        }
        let (candidates, path) = if program.contains('/') {
            (vec![text("command", program)?], None)
        } else {
            let path = value("PATH").cloned().unwrap_or_default();
            let folders = path.split(':').filter(|folder| folder.starts_with('/'));
            let candidates = folders.map(|folder| text("PATH", &format!("{folder}/{program}")));
            (candidates.collect::<Result<_, _>>()?, Some(path))
        };
        Ok(Self { candidates, argv, env, path })
    }

    /// Becomes the command. Returns only if that is not possible, with the reason.
    fn execute(&self, platform: &Platform) -> RunError {
        let mut refusal = None;
        for candidate in &self.candidates {
            let Err(error) = nix::unistd::execve(candidate, &self.argv, &self.env);
            match error {
                Refused::ENOENT | Refused::ENOTDIR if !exists(candidate) => {}
                // Another folder may have an executable file of that name.
                Refused::EACCES if self.path.is_some() => {
                    refusal.get_or_insert((candidate, error));
                }
                _ => {
                    refusal = Some((candidate, error));
                    break;
                }
            }
        }
        let shown = |program: &CStr| program.to_string_lossy().into_owned();
        let (candidate, error) = match (refusal, &self.path) {
            (Some(refusal), _) => refusal,
            (None, Some(path)) => {
                let program = self.argv.first().map(|p| shown(p)).unwrap_or_default();
                return RunError::NotInPath { program, path: path.clone() };
            }
            (None, None) => {
                let program = self.candidates.first().map(|p| shown(p)).unwrap_or_default();
                return RunError::Execute { program, source: Errno::NOENT.into() };
            }
        };
        let program = shown(candidate);
        match error {
            Refused::ENOENT => RunError::NoInterpreter { program },
            Refused::E2BIG => {
                let strings = self.argv.iter().chain(&self.env);
                let bytes = strings.map(|text| text.as_bytes_with_nul().len()).sum();
                RunError::TooMany { program, bytes }
            }
            Refused::ENOEXEC => RunError::Format { program, platform: platform.to_string() },
            _ => RunError::Execute { program, source: error.into() },
        }
    }
}

fn exists(path: &CStr) -> bool {
    rustix::fs::stat(path).is_ok()
}

/// Everything that a child of pid 1 needs to become the command.
pub(super) struct Prepared {
    pub(super) command: Command,
    pub(super) who: User,
    pub(super) ids: Ids,
    /// The folder that becomes the root; `None` if the root is entered already.
    pub(super) root: Option<OwnedFd>,
    /// Whether the filter can be installed only if programs gain no rights any more.
    pub(super) no_new_privs: bool,
    /// The files that a supervisor stands in for.
    pub(super) watched: Watched,
    /// Whether the image has files of others than root, whose owners only a supervisor knows.
    pub(super) has_others: bool,
    /// The facts about the step's place, for the supervisor.
    pub(super) around: StepPlace,
    /// `None` for an insecure step.
    pub(super) filter: Option<Filter>,
    /// Takes the listener for the calls that the filter keeps from the kernel.
    pub(super) supervisor: OwnedFd,
    pub(super) streams: Connected,
    /// Brings a byte once this process is traced; `None` in a step that is not.
    pub(super) start: Option<OwnedFd>,
}

/// The files that a supervisor stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watched {
    /// None.
    Nothing,
    /// Processes in `/proc`, perhaps devices: the step can do without.
    System,
    /// Secrets, too.
    Secrets,
}

/// Turns this process, a fresh child of pid 1, into the command. Returns only if that is not
/// possible, with the reason.
pub(super) fn become_command(prepared: Prepared, run: &RunRequest, events: &OwnedFd) -> RunError {
    match prepare(&prepared, run, events) {
        Ok(()) => prepared.command.execute(&run.platform),
        Err(error) => error,
    }
}

fn prepare(prepared: &Prepared, run: &RunRequest, events: &OwnedFd) -> Result<(), RunError> {
    let Prepared { who, ids, root, filter, no_new_privs, supervisor, streams, start, .. } =
        prepared;
    if let Some(start) = start {
        let read = retry_on_intr(|| rustix::io::read(start, &mut [0; 1]));
        if read.map_err(RunError::setup("wait for the tracer"))? == 0 {
            return Err(RunError::Killed);
        }
    }
    // No terminal: a command could push input into it, which the user's shell would read.
    rustix::process::setsid().map_err(RunError::setup("setsid"))?;
    // To the kernel everybody is root where there is one id.
    let owner = if *ids == Ids::Range { who.uid.raw() } else { 0 };
    streams.connect(owner).map_err(RunError::setup("connect the standard streams"))?;
    if let Some(root) = root {
        enter(root).map_err(RunError::setup("enter the root file system"))?;
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    limits::apply(&run.ulimits)?;
    enter_working_directory(&run.cwd)?;
    sys::reset_signals();
    if is_32_bit_here(&run.platform) {
        sys::become_32_bit().map_err(RunError::setup("set the 32-bit personality"))?;
    }
    if let Some(filter) = filter {
        if *no_new_privs {
            rustix::thread::set_no_new_privs(true).map_err(RunError::setup("prctl"))?;
        }
        let listener = seccomp::install(filter)
            .map_err(|error| RunError::Filter { reason: in_words(&error) })?;
        if let Some(listener) = listener {
            if *ids == Ids::Single || prepared.has_others || prepared.around.has_packages {
                // The supervisor looks at the calls that this process makes from here on. There is
                // no other process of the step yet.
                rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
                    .map_err(RunError::setup("prctl"))?;
            }
            let around = protocol::to_json(&prepared.around)
                .map_err(|error| RunError::Filter { reason: in_words(&error) })?;
            wire::send(supervisor, &around, &[listener.as_fd()])
                .map_err(RunError::setup("hand the listener over"))?;
        } else {
            do_without_supervisor(prepared.watched, prepared.has_others, events)?;
        }
    }
    user::become_user(&run.user, who, *ids, run.security)?;
    if start.is_some() {
        // The change of the user has undone it. The tracer reads the arguments of `execve`.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
            .map_err(RunError::setup("prctl"))?;
    }
    sys::close_all_on_exec().map_err(RunError::setup("close descriptors"))
}

/// Returns whether the machine runs a platform's programs in its 32-bit mode. If it has none after
/// all, an emulator has its own answers to `uname`.
fn is_32_bit_here(platform: &Platform) -> bool {
    Arch::of(platform).is_some_and(|arch| Arch::host().and_then(Arch::compat) == Some(arch))
}

/// Tells the user what a step lacks without a supervisor.
fn do_without_supervisor(
    watched: Watched,
    has_others: bool,
    events: &OwnedFd,
) -> Result<(), RunError> {
    let why = "system calls cannot be supervised: a supervisor is at work already, or the kernel \
               has none";
    if has_others {
        let what = "a RUN on files of owners that the user namespace lacks".to_owned();
        return Err(RunError::NotHere { what, why: why.to_owned() });
    }
    match watched {
        Watched::Nothing => {}
        Watched::System => {
            let note = format!("this environment gives RUN steps no /proc of processes: {why}");
            Event::Note(note).send(events);
        }
        Watched::Secrets => {
            let what = "a secret as a file".to_owned();
            return Err(RunError::NotHere { what, why: why.to_owned() });
        }
    }
    Ok(())
}

/// Makes a folder the root of this process.
pub(super) fn enter(root: &OwnedFd) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")
}

fn enter_working_directory(path: &str) -> Result<(), RunError> {
    let failed =
        |errno: Errno| RunError::WorkingDirectory { path: path.to_owned(), source: errno.into() };
    rustix::process::chdir(path).map_err(failed)?;
    // A link that the kernel makes up, such as those in /proc/self/fd, could lead out of the root.
    let now = rustix::process::getcwd(Vec::new()).map_err(failed)?;
    if now.as_bytes().starts_with(b"/") { Ok(()) } else { Err(failed(Errno::XDEV)) }
}
