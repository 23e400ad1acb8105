//! The experiments: one child process tries everything in namespaces of its own and reports.
//!
//! For rungs with mounts the child becomes root of a user namespace, with the id map that the build
//! gets, and of a mount namespace, by the helper's own code. There
//!
//! 1. a child of it makes the place of a step and runs a program in it, by the code of a step
//!    ([`step`]); the root file system is on the file system of the store;
//! 2. for foreign architectures, it traces a process up to its `execve`, as interception does, and
//!    runs test programs ([`programs`]): under the entries that are in force on the host; for the
//!    32-bit sibling of the host, under an empty private `binfmt_misc`, so that success is the
//!    CPU's; with the found emulators registered there; with the emulators put in front, where that
//!    fails. They have a tmpfs as root directory, so a program that runs needs nothing from the
//!    host's tree, just as in an image.
//!
//! For a rung without mounts, programs have a folder on the file system of the store as root
//! directory, and run as the steps of that rung do, intercepted ones too.

use std::ffi::CStr;
use std::fs::{DirBuilder, Permissions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Signal};
use tempfile::TempDir;
use xbuild_model::Platform;

use super::alone::{self, Filters};
use super::programs::{self, Subject, die_with_parent, wait};
use super::report::{self, Call, Report, Seen};
use crate::arch::Arch;
use crate::helper;
use crate::idmap::{IdMap, Ids};
use crate::protocol::TrialFolders;
use crate::seccomp::{self, Filter, Stops};
use crate::step::intercept;
use crate::step::userns::namespaces;
use crate::step::userns::trial as step;
use crate::way::Way;
use crate::{sys, tiny_elf};

/// The folders of a trial. Dropping this removes them.
#[derive(Debug)]
pub(super) struct Place(TempDir);

impl Place {
    /// Makes the folders in `folder`, with the program for the step.
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        // Nobody else can guess the name or enter the folder.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".xbuild-trial-").permissions(Permissions::from_mode(0o700));
        let place = Self(builder.tempdir_in(folder)?);
        let make = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        let TrialFolders { lower, upper, work } = place.folders();
        [&lower, &upper, &work].into_iter().try_for_each(|path| make(path))?;
        if let Some(arch) = Arch::host() {
            place.put(step::PROGRAM, &tiny_elf::program(arch))?;
        }
        Ok(place)
    }

    /// Adds a program, by its path in the root file system.
    fn put(&self, path: &CStr, program: &[u8]) -> io::Result<()> {
        let name = path.to_string_lossy();
        let path = self.folders().lower.join(name.trim_start_matches('/'));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o700).open(path)?;
        file.write_all(program)
    }

    pub(super) fn folders(&self) -> TrialFolders {
        let [lower, upper, work] = ["lower", "upper", "work"].map(|name| self.0.path().join(name));
        TrialFolders { lower, upper, work }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // overlayfs leaves folders without any permission.
        open_up(&self.folders().work);
    }
}

fn open_up(folder: &Path) {
    let _ = std::fs::set_permissions(folder, Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Makes the experiments of rungs with mounts, with an id map. The child and its children are gone
/// when this returns.
pub(super) fn run(subjects: &[Subject], map: &IdMap, place: Option<&Place>) -> Seen {
    let mut seen = Seen::nothing(Way::Mounts, subjects.len());
    seen.child = run_child(subjects, map, place, &mut seen);
    seen
}

/// Makes the experiments of a rung without mounts. The child and its children are gone when this
/// returns.
pub(super) fn run_alone(subjects: &[Subject], way: Way, map: &IdMap, place: &Place) -> Seen {
    let mut seen = Seen::nothing(way, subjects.len());
    let put = |subject: &Subject| place.put(subject.path(), subject.program());
    seen.child = match subjects.iter().try_for_each(put) {
        // An earlier trial has put them there.
        Ok(()) => run_child(subjects, map, Some(place), &mut seen),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            run_child(subjects, map, Some(place), &mut seen)
        }
        Err(error) => Err(error),
    };
    seen
}

/// Everything that the child needs.
struct Setting<'a> {
    subjects: &'a [Subject],
    way: Way,
    ids: Ids,
    step: step::Trial,
    intercepting: Option<Filter>,
    alone: Filters,
    /// Brings a byte once the id map is written.
    mapped: OwnedFd,
}

fn run_child(
    subjects: &[Subject],
    map: &IdMap,
    place: Option<&Place>,
    seen: &mut Seen,
) -> io::Result<()> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (mapped, go) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let setting = Setting {
        subjects,
        way: seen.way,
        ids: map.ids(),
        step: step::Trial {
            ids: map.ids(),
            folders: place.map(Place::folders),
            filter: seccomp::program(&Platform::host()).ok(),
        },
        intercepting: seccomp::only_stopping(Stops { traced: true, ..Stops::default() }).ok(),
        alone: Filters::new(),
        mapped,
    };
    let mut go = Some(go);
    let child = sys::fork_bare(|| {
        // Without its copy the child finds out if the map cannot be written.
        drop(go.take());
        experiment(&setting, &|report: Report| report.send(&writer));
        0
    })?;
    drop(writer);
    let number = child.as_raw_nonzero().get().unsigned_abs();
    let result = report::listen(reader.as_fd(), &mut |report| {
        let is_waiting = matches!(report, Report::Call(Call::UserNamespace, 0));
        seen.note(report);
        if let Some(go) = go.take_if(|_| is_waiting) {
            match map.write(number) {
                // The child waits, or is gone.
                Ok(()) => drop(rustix::io::write(&go, b"x")),
                Err(error) => seen.id_map = Some(Err(error)),
            }
        }
        ControlFlow::Continue(())
    });
    if result.is_err() {
        // It may have ended by itself meanwhile; then it is a zombie until it is waited for.
        let _ = rustix::process::kill_process(child, Signal::KILL);
    }
    wait(child).ok_or(Errno::CHILD)?;
    result
}

// The functions below run in the child.

fn experiment(setting: &Setting<'_>, say: &dyn Fn(Report)) {
    let call = |call, result: Result<(), Errno>| {
        say(Report::Call(call, result.err().map_or(0, Errno::raw_os_error)));
        result.is_ok()
    };
    // Without a /dev/null the complaints of an emulator reach the terminal. That does no harm.
    let _ = silence();
    if !setting.way.has_users() {
        return try_alone(setting, say);
    }
    let entered = die_with_parent().and_then(|()| {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| Errno::from_raw_os_error(errno as i32))
    });
    if !call(Call::UserNamespace, entered) {
        return;
    }
    let wait = || rustix::io::read(&setting.mapped, &mut [0; 1]);
    if rustix::io::retry_on_intr(wait) != Ok(1) {
        return;
    }
    let root = helper::become_root(setting.ids);
    let is_root = root.is_ok();
    say(Report::Root(root));
    if !is_root {
        return;
    }
    // The root stays the same: only the permission counts.
    call(Call::Chroot, rustix::process::chroot(c"/"));
    if !setting.way.has_mounts() {
        return try_alone(setting, say);
    }
    let mounts = helper::own_mounts();
    let is_private = mounts.is_ok();
    say(Report::MountNamespace(mounts));
    if !is_private {
        return;
    }
    // The change of credentials has undone it.
    let _ = die_with_parent();
    try_step(setting, say);
    if setting.subjects.is_empty() {
        return;
    }
    if let Some(filter) = &setting.intercepting {
        call(Call::Interception, intercept::attempt(filter, false));
    }
    // A refused mount is known from the step.
    let _ = programs::try_out(setting.subjects, say);
}

/// Runs programs as the steps of a rung without mounts, in a process of its own.
fn try_alone(setting: &Setting<'_>, say: &dyn Fn(Report)) {
    let Some(folders) = &setting.step.folders else { return };
    if setting.way.has_users() {
        // Steps do without, too.
        let _ = namespaces::enter();
    }
    let child = sys::fork_bare(|| {
        let _ = die_with_parent();
        alone::try_out(setting.subjects, &folders.lower, &setting.alone, say);
        0
    });
    match child {
        Ok(child) => drop(wait(child)),
        Err(error) => {
            let (attempt, source) = ("fork".to_owned(), error.into());
            let failed = crate::error::RunError::Setup { attempt, source };
            say(Report::Part(step::Part::Folder, Err(failed)));
        }
    }
}

/// Makes the place of a step, in a process of its own.
fn try_step(setting: &Setting<'_>, say: &dyn Fn(Report)) {
    let tell = |part, result| say(Report::Part(part, result));
    let child = sys::fork_bare(|| {
        // As in the helper.
        let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
        let _ = die_with_parent();
        rustix::process::umask(Mode::empty());
        step::attempt(&setting.step, &tell);
        0
    });
    match child {
        Ok(child) => drop(wait(child)),
        Err(error) => {
            let (attempt, source) = ("fork".to_owned(), error.into());
            tell(step::Part::Mounts, Err(crate::error::RunError::Setup { attempt, source }));
        }
    }
}

/// Keeps emulators from writing to the user's terminal.
fn silence() -> Result<(), Errno> {
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}
