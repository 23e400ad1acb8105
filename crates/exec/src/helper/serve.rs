//! The life of the helper: it becomes root of new namespaces, then serves tasks.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::mount::MountPropagationFlags;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{Gid, Uid};
use xbuild_model::Platform;

use super::lanes::{self, Kind};
use super::tasks::Tasks;
use crate::arch::Arch;
use crate::binfmt::{self, PrivateInstance, Registration};
use crate::error::{Errno, SandboxError, in_words};
use crate::idmap::Ids;
use crate::protocol::Message;
use crate::step::userns::overlay;
use crate::way::Way;
use crate::{lifeline, seccomp, sys};

/// Does the helper's work until the main process closes the socket.
pub(super) fn serve(tasks: &Tasks) -> ExitCode {
    let Ok(socket) = take_socket() else { return ExitCode::FAILURE };
    let helper = match set_up(&socket) {
        Ok(helper) => helper,
        Err(error) => {
            // An error here means that nobody listens.
            let _ = Message::Failed(error).send(&socket, &[]);
            return ExitCode::FAILURE;
        }
    };
    if Message::Ready.send(&socket, &[]).is_err() {
        return ExitCode::FAILURE;
    }
    sys::ignore_children();
    // The processes of steps inherit the filter. They meet the same error if there is one.
    let _ = seccomp::program(&Platform::host());
    overlay::learn();
    let Helper { steps, way, ids, emulators, pasta } = helper;
    let pasta = pasta.as_deref();
    lanes::serve([(socket, Kind::Task(tasks)), (steps, Kind::Step { way, ids, pasta })]);
    drop(emulators);
    ExitCode::SUCCESS
}

/// Moves the socket away from standard input, where the children must find nothing.
fn take_socket() -> io::Result<OwnedFd> {
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(socket)
}

fn failed<E: Into<Errno>>(attempt: &str) -> impl FnOnce(E) -> SandboxError {
    move |source| SandboxError::Setup { attempt: attempt.to_owned(), source: source.into() }
}

/// The helper once it is set up.
struct Helper {
    /// The socket that steps come through.
    steps: OwnedFd,
    way: Way,
    ids: Ids,
    /// Must live as long as the namespaces are used.
    emulators: Option<PrivateInstance>,
    pasta: Option<PathBuf>,
}

/// Becomes root of new namespaces, or stays root of the caller's.
fn set_up(socket: &OwnedFd) -> Result<Helper, SandboxError> {
    let (Message::Setup(setup), mut fds) = Message::receive(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the set-up".to_owned() });
    };
    if fds.is_empty() {
        return Err(SandboxError::Protocol { what: "expected a socket for steps".to_owned() });
    }
    let steps = fds.remove(0);
    lifeline::end_with(setup.main)?;
    // A terminal's signals are for the main process, which ends us by ending.
    rustix::process::setsid().map_err(failed("setsid"))?;
    let no_core = Rlimit { current: Some(0), ..rustix::process::getrlimit(Resource::Core) };
    rustix::process::setrlimit(Resource::Core, no_core).map_err(failed("setrlimit"))?;
    look_bigger();
    let (way, ids) = (setup.way, setup.ids);
    enter_namespaces(socket, way, ids)?;
    // Other processes of our user, inside or outside, must not look into this one. From here on
    // the files in our own /proc folder belong to nobody, so this comes last.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("prctl"))?;
    lifeline::end_with(setup.main)?;
    rustix::process::umask(Mode::empty());
    let emulators = register(&setup.emulators, fds)?;
    Ok(Helper { steps, way, ids, emulators, pasta: setup.pasta })
}

/// Makes the user namespace, whose id map the main process writes, and the mount namespace in it,
/// as far as the way has them.
fn enter_namespaces(socket: &OwnedFd, way: Way, ids: Ids) -> Result<(), SandboxError> {
    if way.has_users() {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(unshare_failed("user"))?;
    }
    Message::Unshared.send(socket, &[])?;
    let (Message::Mapped, _) = Message::receive(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the map".to_owned() });
    };
    become_root(ids)?;
    if !way.has_mounts() {
        return Ok(());
    }
    own_mounts()
}

/// Makes the mount namespace.
pub(crate) fn own_mounts() -> Result<(), SandboxError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(unshare_failed("mount"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(failed("make all mounts private"))
}

/// Makes the kernel end the command before anything else if memory runs out. The score that xbuild
/// was started with is never lowered. Without the right to set it, the build goes on.
fn look_bigger() {
    const FILE: &str = "/proc/self/oom_score_adj";
    /// The command looks bigger than it is by a tenth of the memory.
    const SCORE: i32 = 100;
    let own = std::fs::read_to_string(FILE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    if own.is_none_or(|own| own < SCORE) {
        let _ = std::fs::write(FILE, SCORE.to_string());
    }
}

fn unshare_failed(namespace: &str) -> impl FnOnce(nix::errno::Errno) -> SandboxError {
    move |error| SandboxError::Unshare { namespace: namespace.to_owned(), source: error.into() }
}

/// Becomes root of a user namespace with these ids.
pub(crate) fn become_root(ids: Ids) -> Result<(), SandboxError> {
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    if ids == Ids::Range {
        // With a single id this right was the price of the map.
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
