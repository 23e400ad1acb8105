//! Starting the helper: the same program, executed again with a socket as its standard input.
//!
//! Inside its namespace the calling user is root, so a command that got hold of the program's
//! file could overwrite it. The helper is therefore executed from where that is not possible, see
//! [`sealed`].

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::net::Shutdown;
use rustix::pipe::PipeFlags;
use xbuild_model::thread;
use xbuild_model::ward::Ward;

use crate::binfmt::Registration;
use crate::error::{Errno, SandboxError, in_words};
use crate::idmap::IdMap;
use crate::ladder::Choice;
use crate::probe::report::{self, Seen};
use crate::protocol::{self, Message, TrialFolders, TrialSetup};
use crate::way::Way;
use crate::{orphans, sealed, wire};

/// The time that the helper and its processes have to end. Their namespaces take some milliseconds;
/// a process in a file system that does not answer takes for ever, and must not hold the build up.
const PATIENCE: Duration = Duration::from_secs(10);

/// The running helper. Dropping it ends it, with all its processes.
#[derive(Debug)]
pub(super) struct Helper {
    /// `None` only while this is dropped.
    sockets: Option<Sockets>,
    /// Disconnected once the helper and all its processes have ended and were waited for.
    end: Mutex<Receiver<()>>,
}

/// The sockets that take work.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) tasks: OwnedFd,
    pub(super) steps: OwnedFd,
}

impl Helper {
    /// Starts the helper and waits until it takes tasks.
    pub(super) fn start(
        choice: &Choice,
        emulators: &[Registration],
        pasta: Option<PathBuf>,
    ) -> Result<Self, SandboxError> {
        let (way, map) = (choice.rung.way(), &choice.map);
        Self::start_as(&Start { way, map, emulators, pasta, trial: None, reports: None })
    }

    fn start_as(start: &Start<'_>) -> Result<Self, SandboxError> {
        let (tasks, their_tasks) = wire::pair().map_err(failed("socketpair"))?;
        let (steps, their_steps) = wire::pair().map_err(failed("socketpair"))?;
        let (end, pid) = keep(their_tasks, start.map.clone())?;
        let helper = Self { sockets: Some(Sockets { tasks, steps }), end: Mutex::new(end) };
        let Start { way, map, emulators, pasta, trial, reports } = start;
        let setup = protocol::Setup {
            main: std::process::id(),
            way: *way,
            ids: map.ids(),
            emulators: emulators.iter().map(|e| e.arch.oci_name().to_owned()).collect(),
            pasta: pasta.clone(),
            trial: trial.clone(),
        };
        let interpreters = emulators.iter().map(|e| e.interpreter.as_fd());
        let reports = reports.as_ref().map(AsFd::as_fd);
        let steps = std::iter::once(their_steps.as_fd());
        let fds: Vec<_> = steps.chain(reports).chain(interpreters).collect();
        let tasks = &helper.sockets()?.tasks;
        Message::Setup(setup).send(tasks, &fds)?;
        drop(fds);
        write_map(tasks, pid, map)?;
        Ok(helper)
    }

    /// Returns the sockets that take work.
    pub(super) fn sockets(&self) -> Result<&Sockets, SandboxError> {
        self.sockets.as_ref().ok_or(SandboxError::Gone)
    }

    /// Ends the process that waits for the next step. It takes a while, since it has namespaces.
    pub(super) fn retire_steps(&self) {
        if let Some(sockets) = &self.sockets {
            // A helper that is gone has no such process.
            let _ = rustix::net::shutdown(&sockets.steps, Shutdown::Both);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        drop(self.sockets.take());
        // The kernel kills what has not ended by then together with this process.
        let end = self.end.get_mut().unwrap_or_else(PoisonError::into_inner);
        let _ = end.recv_timeout(PATIENCE);
    }
}

fn failed(attempt: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |error| SandboxError::Start { attempt: attempt.to_owned(), source: Errno::from(error) }
}

/// Executes the helper from a thread that stays as long as the helper does: the kernel ends a
/// process together with the *thread* that started it. Returns the process's id, and what is
/// disconnected at its end.
fn keep(socket: OwnedFd, map: IdMap) -> Result<(Receiver<()>, u32), SandboxError> {
    let (tell, told) = mpsc::channel();
    let (lives, end) = mpsc::channel::<()>();
    let keep = move || match execute(socket, &map) {
        Ok(mut child) => {
            let ward = Ward::of_process(child.id());
            let heard = tell.send(Ok(child.id()));
            // The helper ends by itself when the socket is closed. Its status does not matter:
            // whoever waits for an answer notices.
            let ended = child.wait();
            drop((heard, ended, ward));
            // The kernel kills its processes then. They are in its group, and ours as orphans.
            orphans::wait_for_group(child.id());
            drop(lives);
        }
        Err(error) => drop(tell.send(Err(error))),
    };
    thread::start("helper-keeper", keep).map_err(|error| failed("a thread")(error.source))?;
    let pid =
        told.recv().map_err(|_| SandboxError::Gone)?.map_err(failed("executing xbuild again"))?;
    Ok((end, pid))
}

fn execute(socket: OwnedFd, map: &IdMap) -> io::Result<Child> {
    let program = sealed::program(File::open("/proc/self/exe")?, map)?;
    // The caller's environment may hold secrets.
    Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()))
        .arg0(protocol::HELPER)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .spawn()
}

/// The work of a new helper.
struct Start<'a> {
    way: Way,
    map: &'a IdMap,
    emulators: &'a [Registration],
    pasta: Option<PathBuf>,
    trial: Option<TrialSetup>,
    /// Takes the reports of the trial.
    reports: Option<OwnedFd>,
}

/// Writes the helper's id map, and waits until the helper takes tasks.
fn write_map(socket: &OwnedFd, pid: u32, map: &IdMap) -> Result<(), SandboxError> {
    let (Message::Unshared, _) = Message::receive(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the new namespace".to_owned() });
    };
    map.write(pid)?;
    Message::Mapped.send(socket, &[])?;
    match Message::receive(socket)? {
        (Message::Ready, _) => Ok(()),
        _ => Err(SandboxError::Protocol { what: "expected the end of the set-up".to_owned() }),
    }
}

/// A helper that has tried this machine out, and can go on as the helper of a build.
#[derive(Debug)]
pub struct Started {
    helper: Helper,
    map: IdMap,
}

impl Started {
    /// Starts a helper with that id map on the highest rung; a child of it makes the place of a step
    /// in small, with these folders. `seen` takes the results. Returns `None` if there is no helper.
    pub(crate) fn try_out(
        map: &IdMap,
        folders: Option<TrialFolders>,
        seen: &mut Seen,
    ) -> Option<Self> {
        let (reader, writer) = match rustix::pipe::pipe_with(PipeFlags::CLOEXEC) {
            Ok(pipe) => pipe,
            Err(errno) => {
                seen.child = Err(errno.into());
                return None;
            }
        };
        let (way, trial) = (Way::Mounts, Some(TrialSetup { folders }));
        let reports = Some(writer);
        let start = Start { way, map, emulators: &[], pasta: None, trial, reports };
        let helper = Helper::start_as(&start);
        // The reports end with the last process of the trial.
        drop(start);
        let heard = report::listen(reader.as_fd(), &mut |report| {
            let is_last = report.ends_step();
            seen.note(report);
            if is_last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        seen.child = heard;
        match helper {
            Ok(helper) => Some(Self { helper, map: map.clone() }),
            Err(error @ (SandboxError::WriteMap { .. } | SandboxError::MapRefused { .. })) => {
                seen.id_map = Some(Err(error));
                None
            }
            Err(error) => {
                // The kind says whether the disk or a limit is at fault.
                let kind = match &error {
                    SandboxError::Start { source, .. } => {
                        io::Error::from_raw_os_error(source.number()).kind()
                    }
                    _ => io::ErrorKind::Other,
                };
                seen.child = Err(io::Error::new(kind, in_words(&error)));
                None
            }
        }
    }

    /// Returns the helper if a build on this rung can have it. Otherwise it ends.
    pub(super) fn on(self, choice: &Choice, emulators: &[Registration]) -> Option<Helper> {
        let fits = choice.rung.way() == Way::Mounts && choice.map == self.map;
        (fits && emulators.is_empty()).then_some(self.helper)
    }
}
