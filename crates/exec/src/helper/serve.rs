//! The helper's side: a process that owns the build's user and mount namespaces and forks a
//! child for each task, before the task comes ([`lanes`]).
//!
//! ```text
//! xbuild (namespaces of the host)
//!   │ sockets: set-up, then tasks and steps, each with a pipe for its answer
//! helper (user and mount namespace of the build, root there)
//!   ├─ child: a task such as unpacking a layer
//!   └─ child: a RUN step
//!        └─ pid 1 of the step's namespaces
//!             └─ the command, and what it starts
//! ```
//!
//! The helper ends when xbuild closes the socket or dies, each child when the helper does, a
//! step's processes when their pid 1 does. Nothing is left: mounts go with their namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{Gid, Uid};
use serde::{Deserialize, Serialize};
use xbuild_model::Platform;

use super::lanes::{self, Kind};
use super::tasks::Tasks;
use crate::arch::Arch;
use crate::binfmt::{self, PrivateInstance, Registration};
use crate::error::{Errno, SandboxError};
use crate::idmap::Ids;
use crate::ladder::Rung;
use crate::{seccomp, sys, wire};

/// What the two sides say to each other before the first task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Message {
    /// To the helper: what is wanted. The socket for steps comes along, and a descriptor for each
    /// emulator.
    Setup {
        /// The process id of the main process.
        parent: u32,
        /// The ids that will exist.
        rung: Rung,
        /// The architectures to emulate, in OCI terms.
        emulators: Vec<String>,
    },
    /// From the helper: its id map can be written now.
    Unshared,
    /// To the helper: that is done.
    Mapped,
    /// From the helper: tasks, please.
    Ready,
    /// From the helper, which then ends.
    Failed(SandboxError),
}

/// The first byte of an answer that is a result.
pub(crate) const ANSWER: u8 = 0;
/// The first byte of an answer that is an error message.
pub(crate) const REFUSAL: u8 = 1;

/// Does the helper's work until there is nobody to do it for.
pub(crate) fn serve(tasks: &Tasks) -> ExitCode {
    let Ok(socket) = take_socket() else { return ExitCode::FAILURE };
    let setup = match set_up(&socket) {
        Ok(setup) => setup,
        Err(error) => {
            // If even this cannot be said, nobody is listening.
            let _ = say(&socket, &Message::Failed(error));
            return ExitCode::FAILURE;
        }
    };
    if say(&socket, &Message::Ready).is_err() {
        return ExitCode::FAILURE;
    }
    sys::ignore_children();
    // Inherited by the processes of steps. What is wrong with it they will find out, too.
    let _ = seccomp::program(&Platform::host());
    let Setup { steps, ids, emulators } = setup;
    lanes::serve([(socket, Kind::Task(tasks)), (steps, Kind::Step { ids })]);
    drop(emulators);
    ExitCode::SUCCESS
}

/// Moves the socket away from standard input, where the children shall find nothing.
fn take_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

/// Sends a message of the set-up.
pub(crate) fn say(socket: impl AsFd, message: &Message) -> Result<(), SandboxError> {
    let bytes = serde_json::to_vec(message)
        .map_err(|error| SandboxError::Protocol { what: error.to_string() })?;
    wire::send(socket, &bytes, &[]).map_err(|_| SandboxError::Gone)
}

/// Receives a message of the set-up.
pub(crate) fn hear(socket: impl AsFd) -> Result<(Message, Vec<OwnedFd>), SandboxError> {
    let received = wire::receive(socket).map_err(|_| SandboxError::Gone)?;
    let (bytes, fds) = received.ok_or(SandboxError::Gone)?;
    match serde_json::from_slice(&bytes) {
        Ok(Message::Failed(error)) => Err(error),
        Ok(message) => Ok((message, fds)),
        Err(error) => Err(SandboxError::Protocol { what: error.to_string() }),
    }
}

fn failed<E: Into<Errno>>(attempt: &str) -> impl FnOnce(E) -> SandboxError {
    move |source| SandboxError::Setup { attempt: attempt.to_owned(), source: source.into() }
}

/// What the helper works with.
struct Setup {
    /// Where steps come from.
    steps: OwnedFd,
    ids: Ids,
    /// Must live as long as the namespaces are used.
    emulators: Option<PrivateInstance>,
}

/// Becomes root of new namespaces.
fn set_up(socket: &OwnedFd) -> Result<Setup, SandboxError> {
    let (Message::Setup { parent, rung, emulators }, mut fds) = hear(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the set-up".to_owned() });
    };
    if fds.is_empty() {
        return Err(SandboxError::Protocol { what: "expected a socket for steps".to_owned() });
    }
    let steps = fds.remove(0);
    die_with(parent)?;
    // A terminal's signals are for the main process, which ends us by ending.
    rustix::process::setsid().map_err(failed("setsid"))?;
    let no_core = Rlimit { current: Some(0), ..rustix::process::getrlimit(Resource::Core) };
    rustix::process::setrlimit(Resource::Core, no_core).map_err(failed("setrlimit"))?;
    go_first();
    sys::unshare(libc::CLONE_NEWUSER).map_err(unshare_failed("user"))?;
    say(socket, &Message::Unshared)?;
    let (Message::Mapped, _) = hear(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the map".to_owned() });
    };
    become_root(rung.ids())?;
    sys::unshare(libc::CLONE_NEWNS).map_err(unshare_failed("mount"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(failed("make all mounts private"))?;
    // Whatever shares our user id, inside or outside, must not look into us. From here on the
    // files in our own /proc folder belong to nobody, so this comes last.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("prctl"))?;
    die_with(parent)?;
    rustix::process::umask(Mode::empty());
    Ok(Setup { steps, ids: rung.ids(), emulators: register(&emulators, fds)? })
}

/// Has the kernel end the command before anything else if memory runs out. Never makes that less
/// likely than whoever runs us did. Not worth failing for.
fn go_first() {
    const FILE: &str = "/proc/self/oom_score_adj";
    /// A tenth of the memory, by which the command looks bigger than it is.
    const SCORE: i32 = 100;
    let own = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if own.is_none_or(|own| own < SCORE) {
        let _ = std::fs::write(FILE, SCORE.to_string());
    }
}

fn unshare_failed(namespace: &str) -> impl FnOnce(io::Error) -> SandboxError {
    move |error| SandboxError::Unshare { namespace: namespace.to_owned(), source: error.into() }
}

/// Makes the kernel kill this process when its parent ends. Changing credentials undoes it.
pub(crate) fn die_with(parent: u32) -> Result<(), SandboxError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("prctl"))?;
    // The parent may be gone since before the line above.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == i32::try_from(parent).ok() { Ok(()) } else { Err(SandboxError::Gone) }
}

fn become_root(ids: Ids) -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    if ids == Ids::Range {
        // With a single id this right had to be given up for the map.
        rustix::thread::set_thread_groups(&[]).map_err(failed("setgroups"))?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(failed("setresgid"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(failed("setresuid"))
}

fn register(
    emulators: &[String],
    fds: Vec<OwnedFd>,
) -> Result<Option<PrivateInstance>, SandboxError> {
    if emulators.is_empty() {
        return Ok(None);
    }
    let refused = |reason: String| SandboxError::Emulators { reason };
    let mut registrations = Vec::new();
    for (name, interpreter) in emulators.iter().zip(fds) {
        let arch = Arch::ALL.into_iter().find(|arch| arch.oci_name() == name);
        let arch = arch.ok_or_else(|| refused(format!("unknown architecture {name}")))?;
        registrations.push(Registration { arch, interpreter });
    }
    let instance = binfmt::mount_private().map_err(|error| refused(in_words(&error)))?;
    binfmt::register(&instance, &registrations).map_err(|error| refused(in_words(&error)))?;
    Ok(Some(instance))
}

/// Returns an error with its causes in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
