//! The experiments: one child process tries everything in namespaces of its own and reports.
//!
//! The child is forked, perhaps from a process with threads, so all that it uses is made before
//! the fork, and it only makes system calls. In a new user and mount namespace it mounts a tmpfs,
//! puts the test programs there, and runs each with that tmpfs as root directory. So a program
//! that runs needs nothing from the host's tree, just as in an image. This happens
//!
//! 1. under the entries that are in force on the host,
//! 2. for the 32-bit sibling of the host, under an empty private `binfmt_misc`, so that success
//!    is the CPU's,
//! 3. with the found emulators registered there,
//! 4. with the emulators put in front, where that fails.
//!
//! Beside that it traces a process up to its `execve`, as interception does.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::candidate::Loaded;
use crate::arch::Arch;
use crate::emulator::Emulator;
use crate::error::EmulationError;
use crate::seccomp::{self, Filter};
use crate::step::intercept;
use crate::{binfmt, sys, tiny_elf};

/// An architecture to be tried out, with everything that the child needs for it.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) arch: Arch,
    pub(super) emulator: Loaded,
    path: CString,
    program: Vec<u8>,
    registration: Option<Vec<u8>>,
}

impl Subject {
    pub(super) fn new(arch: Arch, emulator: Loaded) -> Self {
        let line =
            |emulator: &Emulator| binfmt::registration_line(arch, emulator.program().as_raw_fd());
        Self {
            arch,
            registration: emulator.as_ref().ok().map(line),
            emulator,
            path: CString::new(format!("/{}", arch.oci_name())).expect("names have no NUL"),
            program: tiny_elf::program(arch),
        }
    }

    /// Returns the path relative to the root directory.
    fn name(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.path.as_bytes_with_nul()[1..]).expect("ends in a NUL")
    }
}

/// The end of a test program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Run {
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
pub(super) struct Outcome {
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

/// All results. An attempt is `None` if the trial did not reach it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) child: io::Result<()>,
    pub(super) user_namespace: Option<Result<(), Errno>>,
    pub(super) id_map: Option<Result<(), Errno>>,
    pub(super) mounts: Option<Result<(), Errno>>,
    pub(super) overlay: Option<Result<(), Errno>>,
    pub(super) private_binfmt: Option<Result<(), Errno>>,
    pub(super) interception: Option<Result<(), Errno>>,
    /// One for each subject, in the same order.
    pub(super) outcomes: Vec<Outcome>,
}

/// The whole trial must end in this time: ten emulators take a second on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds of CPU time that a test program gets.
const CPU_SECONDS: u64 = 5;

const ARGUMENTS: [&CStr; 3] = [c"probe", c"one", c"two"];

/// Places for the tmpfs in the child's own tree; the first that exists is taken.
const PLACES: [&CStr; 4] = [c"/sys", c"/tmp", c"/mnt", c"/dev"];

/// Makes the experiments. The child and its children are gone when this returns.
pub(super) fn run(subjects: &[Subject]) -> Seen {
    let nothing = Outcome {
        by_host: Run::Not,
        by_cpu: Run::Not,
        registered: None,
        emulated: Run::Not,
        direct: Run::Not,
    };
    let mut seen = Seen {
        child: Ok(()),
        user_namespace: None,
        id_map: None,
        mounts: None,
        overlay: None,
        private_binfmt: None,
        interception: None,
        outcomes: vec![nothing; subjects.len()],
    };
    let result = run_child(subjects, &mut |report| seen.note(report));
    seen.child = result;
    seen
}

fn run_child(subjects: &[Subject], note: &mut dyn FnMut(Report)) -> io::Result<()> {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let maps = IdMaps {
        users: format!("0 {} 1", rustix::process::geteuid().as_raw()),
        groups: format!("0 {} 1", rustix::process::getegid().as_raw()),
    };
    let filter = seccomp::only_intercepting().ok();
    let child = sys::fork_bare(|| {
        let say = |what, index, value| {
            // An error means that nobody listens any more.
            let _ = rustix::io::write(&writer, &Report { what, index, value }.to_bytes());
        };
        experiment(subjects, &maps, filter.as_ref(), &say);
        0
    })?;
    drop(writer);
    let result = listen(reader.as_fd(), note);
    if result.is_err() {
        // It may have ended by itself meanwhile; then it is a zombie until it is waited for.
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
    wait(child).ok_or(Errno::CHILD)?;
    result
}

fn listen(reader: BorrowedFd<'_>, note: &mut dyn FnMut(Report)) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        let rest = end.saturating_duration_since(Instant::now());
        let rest =
            Timespec { tv_sec: rest.as_secs().cast_signed(), tv_nsec: rest.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&reader, PollFlags::IN)], Some(&rest)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let mut bytes = [0; REPORT_SIZE];
        // Reports are written whole, as they are shorter than a pipe's atomic unit.
        match rustix::io::read(reader, &mut bytes) {
            Ok(REPORT_SIZE) => Report::of_bytes(bytes).into_iter().for_each(&mut *note),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

struct IdMaps {
    users: String,
    groups: String,
}

/// The subject of a report. Its value is an error number, 0 for success, or a wait status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum What {
    UserNamespace,
    IdMap,
    Mounts,
    Overlay,
    PrivateBinfmt,
    Interception,
    ByHost,
    ByCpu,
    Registered,
    Emulated,
    Direct,
}

impl What {
    const ALL: [What; 11] = [
        What::UserNamespace,
        What::IdMap,
        What::Mounts,
        What::Overlay,
        What::PrivateBinfmt,
        What::Interception,
        What::ByHost,
        What::ByCpu,
        What::Registered,
        What::Emulated,
        What::Direct,
    ];
}

struct Report {
    what: What,
    index: u8,
    value: i32,
}

const REPORT_SIZE: usize = 6;

impl Report {
    fn to_bytes(&self) -> [u8; REPORT_SIZE] {
        let [a, b, c, d] = self.value.to_le_bytes();
        [self.what as u8, self.index, a, b, c, d]
    }

    fn of_bytes([what, index, a, b, c, d]: [u8; REPORT_SIZE]) -> Option<Self> {
        let what = *What::ALL.get(usize::from(what))?;
        Some(Self { what, index, value: i32::from_le_bytes([a, b, c, d]) })
    }
}

impl Seen {
    fn note(&mut self, Report { what, index, value }: Report) {
        let attempt = || Some(errno(value).map_or(Ok(()), Err));
        match what {
            What::UserNamespace => self.user_namespace = attempt(),
            What::IdMap => self.id_map = attempt(),
            What::Mounts => self.mounts = attempt(),
            What::Overlay => self.overlay = attempt(),
            What::PrivateBinfmt => self.private_binfmt = attempt(),
            What::Interception => self.interception = attempt(),
            What::ByHost | What::ByCpu | What::Registered | What::Emulated | What::Direct => {
                let Some(outcome) = self.outcomes.get_mut(usize::from(index)) else { return };
                match what {
                    What::ByHost => outcome.by_host = Run::of_status(value),
                    What::ByCpu => outcome.by_cpu = Run::of_status(value),
                    What::Emulated => outcome.emulated = Run::of_status(value),
                    What::Direct => outcome.direct = Run::of_status(value),
                    _ => outcome.registered = errno(value),
                }
            }
        }
    }
}

/// Returns the error of a number; `None` for a number that stands for no error.
fn errno(value: i32) -> Option<Errno> {
    (1..4096).contains(&value).then(|| Errno::from_raw_os_error(value))
}

/// Exit statuses from here on tell why the kernel would not execute a program.
const REFUSED: i32 = 100;

impl Run {
    fn of_status(status: i32) -> Self {
        match (libc::WIFEXITED(status), libc::WEXITSTATUS(status)) {
            (true, code) if code == ARGUMENTS.len() as i32 => Run::Well,
            (true, code) => errno(code - REFUSED).map_or(Run::Badly(code), Run::Refused),
            (false, _) => Run::Killed(libc::WTERMSIG(status)),
        }
    }
}

// The functions below run in the child: no allocation, no lock, no panic.

fn experiment(
    subjects: &[Subject],
    maps: &IdMaps,
    filter: Option<&Filter>,
    say: &dyn Fn(What, u8, i32),
) {
    let tell = |what, result: Result<(), Errno>| {
        say(what, 0, result.err().map_or(0, Errno::raw_os_error));
        result.is_ok()
    };
    // Without a /dev/null the complaints of an emulator reach the terminal. That does no harm.
    let _ = silence();
    if !tell(What::UserNamespace, enter(CloneFlags::CLONE_NEWUSER))
        || !tell(What::IdMap, maps.write())
    {
        return;
    }
    let root = match stage(subjects) {
        Ok(root) => root,
        Err(errno) => {
            tell(What::Mounts, Err(errno));
            return;
        }
    };
    tell(What::Mounts, Ok(()));
    tell(What::Overlay, overlay(root.as_fd()));
    if let Some(filter) = filter {
        tell(What::Interception, intercept::attempt(filter));
    }
    run_programs(root.as_fd(), subjects, say);
}

/// Runs the test programs in each way.
fn run_programs(root: BorrowedFd<'_>, subjects: &[Subject], say: &dyn Fn(What, u8, i32)) {
    // At most a dozen subjects.
    let numbered = || (0u8..).zip(subjects);
    for (index, subject) in numbered() {
        say(What::ByHost, index, run_program(root, subject, Way::Kernel));
    }
    let instance = match binfmt::mount_private() {
        Ok(instance) => Ok(instance),
        Err(EmulationError::Mount { source }) => Err(source.raw_os_error().unwrap_or(libc::EIO)),
        Err(_) => Err(libc::EBUSY),
    };
    say(What::PrivateBinfmt, 0, instance.as_ref().err().copied().unwrap_or(0));
    if instance.is_ok() {
        for (index, subject) in numbered() {
            say(What::ByCpu, index, run_program(root, subject, Way::Kernel));
        }
    }
    for (index, subject) in numbered() {
        let Some(line) = &subject.registration else { continue };
        let mut works = false;
        match instance.as_ref().map(|instance| instance.write_line(line)) {
            Ok(Ok(())) => {
                let status = run_program(root, subject, Way::Kernel);
                works = Run::of_status(status) == Run::Well;
                say(What::Emulated, index, status);
            }
            Ok(Err(errno)) => say(What::Registered, index, errno.raw_os_error()),
            Err(_) => {}
        }
        if !works {
            say(What::Direct, index, run_program(root, subject, Way::Emulator));
        }
    }
}

fn enter(namespaces: CloneFlags) -> Result<(), Errno> {
    unshare(namespaces).map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    // The kernel may forget this when credentials change.
    die_with_parent()
}

fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Keeps emulators from writing to the user's terminal.
fn silence() -> Result<(), Errno> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

impl IdMaps {
    fn write(&self) -> Result<(), Errno> {
        put(CWD, c"/proc/self/setgroups", b"deny", OFlags::WRONLY)?;
        put(CWD, c"/proc/self/uid_map", self.users.as_bytes(), OFlags::WRONLY)?;
        put(CWD, c"/proc/self/gid_map", self.groups.as_bytes(), OFlags::WRONLY)
    }
}

fn put(folder: BorrowedFd<'_>, path: &CStr, contents: &[u8], flags: OFlags) -> Result<(), Errno> {
    let executable = Mode::from_raw_mode(0o755);
    let file = rustix::fs::openat(folder, path, flags | OFlags::CLOEXEC, executable)?;
    if rustix::io::write(&file, contents)? == contents.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Enters a mount namespace and returns a tmpfs there with the test programs.
fn stage(subjects: &[Subject]) -> Result<OwnedFd, Errno> {
    enter(CloneFlags::CLONE_NEWNS)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", private)?;
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", c"755")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let root = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
    // overlayfs takes folders only of mounts that are attached.
    let attach = |place: &&CStr| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        rustix::mount::move_mount(root.as_fd(), c"", CWD, *place, flags)
    };
    let mut attached = Err(Errno::NOENT);
    for place in &PLACES {
        attached = attached.or_else(|_| attach(place));
    }
    attached?;
    for subject in subjects {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        put(root.as_fd(), subject.name(), &subject.program, flags)?;
        // The caller's umask must not matter.
        let readable = Mode::from_raw_mode(0o755);
        rustix::fs::chmodat(&root, subject.name(), readable, rustix::fs::AtFlags::empty())?;
    }
    Ok(root)
}

/// Mounts an overlay like those of steps, attached nowhere.
fn overlay(root: BorrowedFd<'_>) -> Result<(), Errno> {
    for name in [c"lower", c"upper", c"work"] {
        rustix::fs::mkdirat(root, name, Mode::from_raw_mode(0o755))?;
    }
    rustix::process::fchdir(root)?;
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, folder) in [(c"lowerdir", c"lower"), (c"upperdir", c"upper"), (c"workdir", c"work")] {
        rustix::mount::fsconfig_set_string(context.as_fd(), key, folder)?;
    }
    rustix::mount::fsconfig_set_flag(context.as_fd(), c"userxattr")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(context.as_fd(), flags, MountAttrFlags::empty()).map(drop)
}

/// How a test program is executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By its path.
    Kernel,
    /// By its emulator.
    Emulator,
}

/// Runs a test program with `root` as root directory; returns its wait status.
fn run_program(root: BorrowedFd<'_>, subject: &Subject, way: Way) -> i32 {
    let started = sys::fork_bare(|| {
        let limit = |n| Rlimit { current: Some(n), maximum: Some(n) };
        let ready = die_with_parent()
            .and_then(|()| rustix::process::setrlimit(Resource::Core, limit(0)))
            .and_then(|()| rustix::process::setrlimit(Resource::Cpu, limit(CPU_SECONDS)))
            .and_then(|()| rustix::process::fchdir(root))
            .and_then(|()| rustix::process::chroot(c"."));
        REFUSED
            + match ready {
                Ok(()) => match (way, &subject.emulator) {
                    (Way::Emulator, Ok(emulator)) => {
                        let [name, one, two] = ARGUMENTS;
                        let argv = [c"qemu", c"-0", name, &subject.path, one, two];
                        sys::exec_file_bare(emulator.program(), argv)
                    }
                    _ => sys::exec_bare(&subject.path, ARGUMENTS),
                },
                Err(errno) => errno.raw_os_error(),
            }
    });
    let failed = || (REFUSED + libc::EAGAIN) << 8;
    started.map_or_else(|_| failed(), |child: Pid| wait(child).unwrap_or_else(failed))
}

/// Waits for a child; returns its wait status.
fn wait(child: Pid) -> Option<i32> {
    let wait = || rustix::process::waitpid(Some(child), WaitOptions::empty());
    rustix::io::retry_on_intr(wait).ok().flatten().map(|(_, status)| status.as_raw())
}
