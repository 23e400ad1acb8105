//! Running programs where nothing can be mounted, as steps of such a rung do.

use std::path::Path;

use rustix::process::DumpableBehavior;
use xbuild_model::Platform;

use super::programs::Subject;
use super::report::{Call, Report, Way};
use crate::error::RunError;
use crate::seccomp::{self, Filter, Stops};
use crate::step::chroot::{keeper, trial};
use crate::step::intercept::{self, Emulators};
use crate::step::userns::trial::{PROGRAM, Part};

/// The filters of system calls, worked out ahead; `None` where this machine's calls are not known.
#[derive(Debug)]
pub(super) struct Filters {
    /// That of a step.
    step: Option<Filter>,
    /// That of a step whose `execve` is intercepted, without a supervisor's part for files: a trial
    /// has no supervisor, and emulators open files.
    traced: Option<Filter>,
    interception: Option<Filter>,
}

impl Filters {
    pub(super) fn new() -> Self {
        let host = Platform::host();
        let watched = Stops { watched: true, ..Stops::default() };
        let traced = Stops { traced: true, ..Stops::default() };
        Self {
            step: seccomp::stopping(&host, watched).ok(),
            traced: seccomp::stopping(&host, traced).ok(),
            interception: seccomp::only_stopping(traced).ok(),
        }
    }
}

/// Runs a program of the machine's own, then those of all subjects, with `folder` as root directory.
/// To be called in a process of its own.
pub(super) fn try_out(
    subjects: &[Subject],
    folder: &Path,
    filters: &Filters,
    say: &dyn Fn(Report),
) {
    let part = |part, result| say(Report::Part(part, result));
    let root = match trial::open(folder) {
        Ok(root) => root,
        Err(error) => return part(Part::Folder, Err(error)),
    };
    let tell = |error| part(Part::Filter, Err(error));
    let run = |path, filter, emulators| {
        trial::run(&root, &trial::Program { path, filter, emulators }, &tell)
    };
    part(Part::Folder, Ok(()));
    part(Part::Filter, Ok(()));
    part(Part::Program, run(PROGRAM, filters.step.as_ref(), None).and_then(trial::judge));
    if subjects.is_empty() {
        return;
    }
    // As in the step; a change of credentials may have undone it.
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable);
    if let Some(filter) = &filters.interception {
        let attempted = intercept::attempt(filter, keeper::needs_no_new_privs());
        say(Report::Call(
            Call::Interception,
            attempted.err().map_or(0, |errno| errno.raw_os_error()),
        ));
    }
    for (index, subject) in subjects.iter().enumerate() {
        let status = |ended: Result<rustix::process::WaitStatus, RunError>| {
            ended.map_or(trial::REFUSED << 8, |status| status.as_raw())
        };
        let path = subject.path();
        say(Report::Program(Way::ByHost, index, status(run(path, None, None))));
        let Ok(emulator) = &subject.emulator else { continue };
        let file = emulator.program().try_clone_to_owned();
        let Some(emulators) = file.ok().and_then(|file| Emulators::new(vec![(subject.arch, file)]))
        else {
            continue;
        };
        let ended = run(path, filters.traced.as_ref(), Some(emulators));
        say(Report::Program(Way::Direct, index, status(ended)));
    }
}
