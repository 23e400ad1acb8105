//! Running the test programs of architectures, each in all ways that there are.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use rustix::path::DecInt;
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::candidate::Loaded;
use super::report::{Call, Report, Run, Way};
use crate::arch::Arch;
use crate::emulator::Emulator;
use crate::error::EmulationError;
use crate::step::chroot::trial::{ARGUMENTS, REFUSED};
use crate::{binfmt, sys, tiny_elf};

/// An architecture to be tried out, with everything that the trial needs for it.
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

    /// Returns the path in the root directory.
    pub(super) fn path(&self) -> &CStr {
        &self.path
    }

    /// Returns the test program.
    pub(super) fn program(&self) -> &[u8] {
        &self.program
    }

    /// Returns the path relative to the root directory.
    fn name(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.path.as_bytes_with_nul()[1..]).expect("ends in a NUL")
    }
}

/// Seconds of CPU time that a test program gets.
const CPU_SECONDS: u64 = 5;

/// Places for the tmpfs in the process's own tree; the first that exists is taken.
const PLACES: [&CStr; 4] = [c"/sys", c"/tmp", c"/mnt", c"/dev"];

/// Runs the programs of all subjects; to be called in a mount namespace of the process's own.
pub(super) fn try_out(subjects: &[Subject], say: &dyn Fn(Report)) -> Result<(), Errno> {
    let root = stage(subjects)?;
    let root = root.as_fd();
    let program = |way, index, status| say(Report::Program(way, index, status));
    let numbered = || subjects.iter().enumerate();
    for (index, subject) in numbered() {
        program(Way::ByHost, index, run_program(root, subject, By::Kernel));
    }
    let instance = match binfmt::mount_private() {
        Ok(instance) => Ok(instance),
        Err(EmulationError::Mount { source }) => Err(source.raw_os_error().unwrap_or(libc::EIO)),
        Err(_) => Err(libc::EBUSY),
    };
    say(Report::Call(Call::PrivateBinfmt, instance.as_ref().err().copied().unwrap_or(0)));
    if instance.is_ok() {
        for (index, subject) in numbered() {
            program(Way::ByCpu, index, run_program(root, subject, By::Kernel));
        }
    }
    for (index, subject) in numbered() {
        let Some(line) = &subject.registration else { continue };
        let mut works = false;
        match instance.as_ref().map(|instance| instance.write_line(line)) {
            Ok(Ok(())) => {
                let status = run_program(root, subject, By::Kernel);
                works = Run::of_status(status) == Run::Well;
                program(Way::Emulated, index, status);
            }
            Ok(Err(errno)) => program(Way::Registered, index, errno.raw_os_error()),
            Err(_) => {}
        }
        if !works {
            program(Way::Direct, index, run_program(root, subject, By::Emulator));
        }
    }
    Ok(())
}

fn put(folder: BorrowedFd<'_>, path: &CStr, contents: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let executable = Mode::from_raw_mode(0o755);
    let file = rustix::fs::openat(folder, path, flags, executable)?;
    // The caller's umask must not matter.
    rustix::fs::fchmod(&file, executable)?;
    if rustix::io::write(&file, contents)? == contents.len() { Ok(()) } else { Err(Errno::IO) }
}

/// Returns a tmpfs with the test programs.
fn stage(subjects: &[Subject]) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), c"mode", c"755")?;
    rustix::mount::fsconfig_create(context.as_fd())?;
    let root = rustix::mount::fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::empty(),
    )?;
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
        put(root.as_fd(), subject.name(), &subject.program)?;
    }
    name_descriptors(root.as_fd(), subjects)?;
    Ok(root)
}

/// Gives the emulators' descriptors names in `/dev/fd`, as they have in steps. The kernel's TOMOYO
/// looks the name up when a descriptor is executed, and refuses with ENOENT without it; Debian 11 has
/// it enabled. Source: the kernel's `security/tomoyo/domain.c`, `tomoyo_find_next_domain`.
fn name_descriptors(root: BorrowedFd<'_>, subjects: &[Subject]) -> Result<(), Errno> {
    let mut folder = root.try_clone_to_owned().map_err(|_| Errno::MFILE)?;
    for name in [c"dev", c"fd"] {
        rustix::fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755))?;
        folder =
            rustix::fs::openat(&folder, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    }
    for emulator in subjects.iter().filter_map(|subject| subject.emulator.as_ref().ok()) {
        match put(folder.as_fd(), DecInt::from_fd(emulator.program()).as_c_str(), b"") {
            // Architectures may share an emulator.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// How a test program is executed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// By its path.
    Kernel,
    /// By its emulator.
    Emulator,
}

/// Runs a test program with `root` as root directory; returns its wait status.
fn run_program(root: BorrowedFd<'_>, subject: &Subject, by: By) -> i32 {
    let started = sys::fork_bare(|| {
        let limit = |n| Rlimit { current: Some(n), maximum: Some(n) };
        let ready = die_with_parent()
            .and_then(|()| rustix::process::setrlimit(Resource::Core, limit(0)))
            .and_then(|()| rustix::process::setrlimit(Resource::Cpu, limit(CPU_SECONDS)))
            .and_then(|()| rustix::process::fchdir(root))
            .and_then(|()| rustix::process::chroot(c"."));
        REFUSED
            + match ready {
                Ok(()) => match (by, &subject.emulator) {
                    (By::Emulator, Ok(emulator)) => {
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

/// Makes the kernel kill this process together with the one that started it. A change of credentials
/// may undo it.
pub(super) fn die_with_parent() -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Waits for a child; returns its wait status.
pub(super) fn wait(child: Pid) -> Option<i32> {
    let wait = || rustix::process::waitpid(Some(child), WaitOptions::empty());
    rustix::io::retry_on_intr(wait).ok().flatten().map(|(_, status)| status.as_raw())
}
