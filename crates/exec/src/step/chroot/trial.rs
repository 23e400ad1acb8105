//! Trying out a step where nothing can be mounted, with the code of a step.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::retry_on_intr;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

use super::{keeper, stage};
use crate::error::{RunError, in_words};
use crate::seccomp::{self, Filter};
use crate::step::intercept::{self, Emulators};
use crate::step::userns::mounts::open_trusted;
use crate::step::{command, init};
use crate::sys;

/// The arguments of a program, which ends with their number as exit status.
pub(crate) const ARGUMENTS: [&CStr; 3] = [c"trial", c"one", c"two"];

/// Exit statuses from here on tell why the kernel would not execute a program.
pub(crate) const REFUSED: i32 = 100;

/// Seconds of CPU time that a program gets.
const CPU_SECONDS: u64 = 5;

/// A program to be tried out.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    /// Its path in the folder.
    pub(crate) path: &'a CStr,
    /// `None` where this machine's system calls are not known.
    pub(crate) filter: Option<&'a Filter>,
    /// The emulators that are put in front of programs; `None` without interception.
    pub(crate) emulators: Option<Emulators>,
}

/// Runs a program with `root` as its root directory, as a step does. Returns its end; an exit status
/// of [`REFUSED`] and more is an error number of `execve`. `tell` gets other errors of the child. No
/// child is left.
///
/// **Errors** — if the program could not be started, or not be traced.
pub(crate) fn run(
    root: &OwnedFd,
    program: &Program<'_>,
    tell: &dyn Fn(RunError),
) -> Result<WaitStatus, RunError> {
    let Program { path, filter, emulators } = program;
    let (start, line) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(RunError::setup("pipe"))?;
    init::make_traceable(true)?;
    let (mut line, is_traced) = (Some(line), emulators.is_some());
    let child = sys::fork_bare(|| {
        drop(line.take());
        match become_program(root, *filter, is_traced.then_some(&start)) {
            Ok(()) => REFUSED + sys::exec_bare(path, ARGUMENTS),
            Err(error) => {
                tell(error);
                REFUSED
            }
        }
    });
    let child = child.map_err(RunError::setup("fork"))?;
    let Some(emulators) = emulators else { return wait(child) };
    let line = line.as_ref().expect("only the child drops it");
    let traced = intercept::attach(child)
        .map_err(RunError::setup("trace the command, to intercept execve"))
        .and_then(|()| {
            rustix::io::write(line, b"x").map_err(RunError::setup("start the command"))?;
            intercept::run(child, emulators, &mut drop).map_err(RunError::setup("trace the step"))
        });
    if traced.is_err() {
        // It may have ended by itself; then it is a zombie until it is waited for.
        let _ = rustix::process::kill_process(child, Signal::KILL);
        let _ = wait(child);
    }
    traced
}

fn wait(child: Pid) -> Result<WaitStatus, RunError> {
    let wait = || rustix::process::waitpid(Some(child), WaitOptions::empty());
    let ended = retry_on_intr(wait).map_err(RunError::setup("wait for the command"))?;
    ended.map(|(_, status)| status).ok_or(RunError::Killed)
}

/// Does what the command's process does before it becomes the command.
fn become_program(
    root: &OwnedFd,
    filter: Option<&Filter>,
    start: Option<&OwnedFd>,
) -> Result<(), RunError> {
    if let Some(start) = start {
        let read = retry_on_intr(|| rustix::io::read(start, &mut [0; 1]));
        if read.map_err(RunError::setup("wait for the tracer"))? == 0 {
            return Err(RunError::Killed);
        }
    }
    let limit = |n| Rlimit { current: Some(n), maximum: Some(n) };
    rustix::process::setrlimit(Resource::Core, limit(0))
        .and_then(|()| rustix::process::setrlimit(Resource::Cpu, limit(CPU_SECONDS)))
        .map_err(RunError::setup("limit the program"))?;
    command::enter(root).map_err(RunError::setup("enter the root file system"))?;
    let Some(filter) = filter else { return Ok(()) };
    if keeper::needs_no_new_privs() {
        rustix::thread::set_no_new_privs(true).map_err(RunError::setup("prctl"))?;
    }
    // The listener is closed, so the calls that are meant for it fail: the programs make none.
    seccomp::install(filter)
        .map(drop)
        .map_err(|error| RunError::Filter { reason: in_words(&error) })
}

/// Returns whether the machine's own program ran well.
pub(crate) fn judge(ended: WaitStatus) -> Result<(), RunError> {
    match ended.exit_status() {
        Some(code) if code == ARGUMENTS.len() as i32 => Ok(()),
        Some(code) if code > REFUSED => {
            let source = std::io::Error::from_raw_os_error(code - REFUSED).into();
            Err(RunError::Execute { program: "a test program".to_owned(), source })
        }
        _ => Err(RunError::Killed),
    }
}

/// Opens a folder that programs are to be tried out in.
///
/// **Errors** — those of a step.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, RunError> {
    let root = open_trusted(path)?;
    stage::check(&root, path)?;
    Ok(root)
}
