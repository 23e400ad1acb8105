//! The reports of the trial's processes, and what they add up to.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{RunError, SandboxError};
use crate::step::chroot::trial::{ARGUMENTS, REFUSED};
use crate::step::userns::trial::Part;
use crate::way::Way as Depth;

/// The end of a test program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// It was not tried.
    Not,
    /// It ran, and got its arguments.
    Well,
    /// The kernel would not execute it.
    Refused(Errno),
    /// It ended with another exit status than expected.
    Badly(i32),
    /// It was killed by a signal.
    Killed(i32),
}

/// The results for one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Under the entries of the host.
    pub(super) by_host: Run,
    /// Under no entries at all.
    pub(super) by_cpu: Run,
    /// The answer to the registration of the emulator.
    pub(super) registered: Option<Errno>,
    /// With the emulator.
    pub(super) emulated: Run,
    /// With the emulator executed in its place.
    pub(super) direct: Run,
}

impl Outcome {
    const NOTHING: Self = Self {
        by_host: Run::Not,
        by_cpu: Run::Not,
        registered: None,
        emulated: Run::Not,
        direct: Run::Not,
    };
}

/// The result of an attempt; `None` if the trial did not reach it.
pub(crate) type Attempt<E> = Option<Result<(), E>>;

/// All results.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The rung's way.
    pub(crate) way: Depth,
    /// Whether the trial came to its end.
    pub(crate) child: io::Result<()>,
    pub(super) user_namespace: Attempt<Errno>,
    /// The id map, and becoming root of it.
    pub(crate) id_map: Attempt<SandboxError>,
    /// The map with a range of ids, if it was refused and another one was tried out.
    pub(super) range: Attempt<SandboxError>,
    pub(super) chroot: Attempt<Errno>,
    pub(super) mount_namespace: Attempt<SandboxError>,
    /// The place of a step.
    pub(super) mounts: Attempt<RunError>,
    pub(super) own_proc: Attempt<RunError>,
    pub(super) overlay: Attempt<RunError>,
    pub(super) folder: Attempt<RunError>,
    pub(super) filter: Attempt<RunError>,
    pub(super) program: Attempt<RunError>,
    pub(super) private_binfmt: Attempt<Errno>,
    pub(super) interception: Attempt<Errno>,
    /// One for each subject, in the same order.
    pub(super) outcomes: Vec<Outcome>,
}

impl Seen {
    /// Returns the results of a trial that has not begun.
    pub(crate) fn nothing(way: Depth, subjects: usize) -> Self {
        Self {
            way,
            child: Ok(()),
            user_namespace: None,
            id_map: None,
            range: None,
            chroot: None,
            mount_namespace: None,
            mounts: None,
            own_proc: None,
            overlay: None,
            folder: None,
            filter: None,
            program: None,
            private_binfmt: None,
            interception: None,
            outcomes: vec![Outcome::NOTHING; subjects],
        }
    }

    /// Returns whether user namespaces or mounts are forbidden, not only limited or broken.
    pub(super) fn is_refused(&self) -> bool {
        let refused = |number: i32| [libc::EPERM, libc::EACCES].contains(&number);
        match (&self.user_namespace, &self.mount_namespace, &self.mounts) {
            (Some(Err(errno)), ..) => refused(errno.raw_os_error()),
            (_, Some(Err(SandboxError::Unshare { source, .. })), _)
            | (_, Some(Err(SandboxError::Setup { source, .. })), _)
            | (_, _, Some(Err(RunError::Mount { source, .. } | RunError::Setup { source, .. }))) => {
                refused(source.number())
            }
            _ => false,
        }
    }

    /// Takes a report in.
    pub(crate) fn note(&mut self, report: Report) {
        match report {
            Report::Call(Call::UserNamespace, errno) => self.user_namespace = Some(attempt(errno)),
            Report::Call(Call::Chroot, errno) => self.chroot = Some(attempt(errno)),
            Report::Call(Call::PrivateBinfmt, errno) => self.private_binfmt = Some(attempt(errno)),
            Report::Call(Call::Interception, errno) => self.interception = Some(attempt(errno)),
            Report::Root(result) => self.id_map = Some(result),
            Report::MountNamespace(result) => self.mount_namespace = Some(result),
            Report::Part(part, result) => {
                let place = match part {
                    Part::Mounts => &mut self.mounts,
                    Part::OwnProc => &mut self.own_proc,
                    Part::Overlay => &mut self.overlay,
                    Part::Folder => &mut self.folder,
                    Part::Filter => &mut self.filter,
                    Part::Program => &mut self.program,
                };
                *place = Some(result);
            }
            Report::Program(way, index, value) => {
                let Some(outcome) = self.outcomes.get_mut(index) else { return };
                match way {
                    Way::ByHost => outcome.by_host = Run::of_status(value),
                    Way::ByCpu => outcome.by_cpu = Run::of_status(value),
                    Way::Emulated => outcome.emulated = Run::of_status(value),
                    Way::Direct => outcome.direct = Run::of_status(value),
                    Way::Registered => outcome.registered = errno(value),
                }
            }
        }
    }
}

fn attempt(value: i32) -> Result<(), Errno> {
    errno(value).map_or(Ok(()), Err)
}

/// Returns the error of a number; `None` for a number that stands for no error.
fn errno(value: i32) -> Option<Errno> {
    (1..4096).contains(&value).then(|| Errno::from_raw_os_error(value))
}

/// The largest error number of Linux, `EHWPOISON`. QEMU ends with 255 if it cannot load a program.
const LAST_ERRNO: i32 = 133;

impl Run {
    /// Judges a wait status.
    pub(super) fn of_status(status: i32) -> Self {
        match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
            (true, code) if code == ARGUMENTS.len() as i32 => Run::Well,
            (true, code) if code > REFUSED + LAST_ERRNO => Run::Badly(code),
            (true, code) => errno(code - REFUSED).map_or(Run::Badly(code), Run::Refused),
            (false, _) => Run::Killed(libc::WTERMSIG(status)),
        }
    }
}

/// Something that is one call, or stands for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Call {
    UserNamespace,
    Chroot,
    PrivateBinfmt,
    Interception,
}

/// A way to run a test program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Way {
    ByHost,
    ByCpu,
    /// Not a run, but the registration before it.
    Registered,
    Emulated,
    Direct,
}

/// A report of a process of the trial: a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The error number of a call, 0 for success.
    Call(Call, i32),
    /// The process became root of the namespace.
    Root(Result<(), SandboxError>),
    /// The mount namespace.
    MountNamespace(Result<(), SandboxError>),
    Part(Part, Result<(), RunError>),
    /// The wait status of a program of the subject with that index, or an error number.
    Program(Way, usize, i32),
}

impl Report {
    /// Returns whether this is the last report on the place of a step, if all went well.
    pub(crate) fn ends_step(&self) -> bool {
        matches!(self, Self::Part(Part::Program, _))
    }

    /// Writes the report whole: it is shorter than a pipe's atomic unit.
    pub(crate) fn send(&self, pipe: &OwnedFd) {
        let Ok(mut line) = serde_json::to_vec(self) else { return };
        line.push(b'\n');
        // An error means that nobody listens any more.
        let _ = rustix::io::write(pipe, &line);
    }
}

/// The whole trial must end in this time: ten emulators take a second on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Hands reports to `note` until it has enough, or until all processes of the trial have ended.
pub(crate) fn listen(
    reader: BorrowedFd<'_>,
    note: &mut dyn FnMut(Report) -> ControlFlow<()>,
) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    let (mut rest, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        match rustix::io::read(reader, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => rest.extend_from_slice(&buffer[..read]),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            if serde_json::from_slice(&line).is_ok_and(|report| note(report).is_break()) {
                return Ok(());
            }
        }
    }
}
