//! The life of the helper: it becomes root of new namespaces, then serves tasks.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
use crate::probe::report::{Call, Report};
use crate::protocol::{Message, TrialFolders, TrialSetup};
use crate::step::userns::overlay;
use crate::step::userns::trial;
use crate::sys::{self, Fork};
use crate::way::Way;
use crate::{lifeline, seccomp};

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
    let Helper { steps, way, ids, emulators, pasta, trial } = helper;
    sys::ignore_children();
    if let Some(trial) = trial {
        learn();
        trial.start(ids);
    }
    if Message::Ready.send(&socket, &[]).is_err() {
        return ExitCode::FAILURE;
    }
    learn();
    let pasta = pasta.as_deref();
    let work = Kind::Task { tasks, binfmt: emulators.as_ref() };
    lanes::serve([(socket, work), (steps, Kind::Step { way, ids, pasta })]);
    drop(emulators);
    ExitCode::SUCCESS
}

/// Works out what all processes of steps inherit. They meet the same errors if there are any.
fn learn() {
    let _ = seccomp::program(&Platform::host());
    overlay::learn();
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
    trial: Option<Trial>,
}

/// A trial of the place of a step, in the namespaces of this helper.
struct Trial {
    folders: Option<TrialFolders>,
    /// Takes the reports.
    reports: OwnedFd,
}

impl Trial {
    /// Makes the place in a process of its own, while this one prepares the first step. It tells how
    /// that went; an error means that it says nothing.
    fn start(self, ids: Ids) {
        let helper = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
        let Ok(Fork::Child) = sys::fork() else { return };
        let work = AssertUnwindSafe(|| {
            let Self { folders, reports } = self;
            lifeline::end_with(helper).ok()?;
            sys::watch_children();
            sys::close_all_but(&[reports.as_fd()]).ok()?;
            let filter = seccomp::program(&Platform::host()).ok();
            let tell = |part, result| Report::Part(part, result).send(&reports);
            trial::attempt(&trial::Trial { ids, folders, filter }, &tell);
            Some(())
        });
        // Whoever listens finds out that nothing was said.
        let _ = catch_unwind(work);
        sys::exit_now(0)
    }
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
    let is_trial = setup.trial.is_some() && !fds.is_empty();
    let reports = is_trial.then(|| fds.remove(0));
    let say = |report: Report| {
        if let Some(reports) = &reports {
            report.send(reports);
        }
    };
    lifeline::end_with(setup.main)?;
    // A terminal's signals are for the main process, which ends us by ending.
    rustix::process::setsid().map_err(failed("setsid"))?;
    let no_core = Rlimit { current: Some(0), ..rustix::process::getrlimit(Resource::Core) };
    rustix::process::setrlimit(Resource::Core, no_core).map_err(failed("setrlimit"))?;
    look_bigger();
    let (way, ids) = (setup.way, setup.ids);
    enter_namespaces(socket, way, ids, &say)?;
    // Other processes of our user, inside or outside, must not look into this one. From here on
    // the files in our own /proc folder belong to nobody, so this comes last.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(failed("prctl"))?;
    lifeline::end_with(setup.main)?;
    rustix::process::umask(Mode::empty());
    let emulators = register(&setup.emulators, fds)?;
    let trial = reports.zip(setup.trial);
    let trial = trial.map(|(reports, TrialSetup { folders })| Trial { folders, reports });
    Ok(Helper { steps, way, ids, emulators, pasta: setup.pasta, trial })
}

/// Makes the user namespace, whose id map the main process writes, and the mount namespace in it,
/// as far as the way has them. `say` is told of each result.
fn enter_namespaces(
    socket: &OwnedFd,
    way: Way,
    ids: Ids,
    say: &dyn Fn(Report),
) -> Result<(), SandboxError> {
    if way.has_users() {
        let entered = unshare(CloneFlags::CLONE_NEWUSER);
        say(Report::Call(Call::UserNamespace, entered.err().map_or(0, |errno| errno as i32)));
        entered.map_err(unshare_failed("user"))?;
    }
    Message::Unshared.send(socket, &[])?;
    let (Message::Mapped, _) = Message::receive(socket)? else {
        return Err(SandboxError::Protocol { what: "expected the map".to_owned() });
    };
    let root = become_root(ids);
    say(Report::Root(root.clone()));
    root?;
    if !way.has_mounts() {
        return Ok(());
    }
    let mounts = own_mounts();
    if mounts.is_err() {
        // Other rungs do without mounts. The root stays the same: only the permission counts.
        let errno = rustix::process::chroot(c"/").err().map_or(0, rustix::io::Errno::raw_os_error);
        say(Report::Call(Call::Chroot, errno));
    }
    say(Report::MountNamespace(mounts.clone()));
    mounts
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
