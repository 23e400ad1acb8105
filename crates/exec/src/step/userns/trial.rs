//! Trying out whether this machine lets xbuild build the place of a step, with the code of a step.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::io::retry_on_intr;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use serde::{Deserialize, Serialize};
use xbuild_model::rootfs::{Folder, Overlay, RootFs};

use super::kit::Kit;
use super::mounts::make_folder;
use super::namespaces;
use super::root::Root;
use crate::error::{RunError, in_words};
use crate::idmap::Ids;
use crate::protocol::TrialFolders;
use crate::seccomp::{self, Filter};
use crate::sys;

/// A part of a step's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The namespaces, `/dev`, `/proc`, `/sys`, and a new root.
    Mounts,
    /// A `/proc` that shows the step's processes only.
    OwnProc,
    /// An overlay mount as root file system.
    Overlay,
    /// A folder as root file system.
    Folder,
    /// The filter of system calls.
    Filter,
    /// A program in that place.
    Program,
}

/// The path of the program in the root file system, which ends with the number of its arguments as
/// exit status.
pub(crate) const PROGRAM: &CStr = c"/trial";

const ARGUMENTS: [&CStr; 3] = [c"trial", c"one", c"two"];

/// The exit status of the process that did not become the program.
const NOT_RUN: i32 = 127;

/// Everything that a trial needs.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) ids: Ids,
    /// `None` if no folder can be made there; then no root file system is tried out.
    pub(crate) folders: Option<TrialFolders>,
    /// `None` where this machine's system calls are not known.
    pub(crate) filter: Option<Filter>,
}

type Tell<'a> = &'a dyn Fn(Part, Result<(), RunError>);

/// Makes the namespaces and the place of a step, and runs a program in it, as a step does. To be
/// called in the build's user and mount namespace, in a process of its own, which cannot start
/// others afterwards. `tell` gets the result of each part, the last one counts; a part that is not
/// told was not reached. [`Part::Program`] is told last, by a process that may then take some time to
/// end. No child is left.
pub(crate) fn attempt(trial: &Trial, tell: Tell<'_>) {
    let started = namespaces::enter().and_then(|()| {
        let child = sys::fork_bare(|| {
            init(trial, tell);
            0
        });
        child.map_err(RunError::setup("fork"))
    });
    match started {
        Ok(init) => finish(trial, init, tell),
        Err(error) => tell(Part::Mounts, Err(error)),
    }
}

fn finish(trial: &Trial, init: Pid, tell: Tell<'_>) {
    let signal = wait(init).and_then(WaitStatus::terminating_signal);
    if signal.is_some() && trial.folders.is_some() {
        tell(Part::Program, Err(RunError::Killed));
    }
}

fn wait(child: Pid) -> Option<WaitStatus> {
    let wait = || rustix::process::waitpid(Some(child), WaitOptions::empty());
    retry_on_intr(wait).ok().flatten().map(|(_, status)| status)
}

/// The life of the first process of the step's pid namespace.
fn init(trial: &Trial, tell: Tell<'_>) {
    // Without this a kill of the trial would leave the process.
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    let kit = match namespaces::enter_mounts().and_then(|()| Kit::new(trial.ids)) {
        Ok(kit) => kit,
        Err(error) => return tell(Part::Mounts, Err(error)),
    };
    tell(Part::OwnProc, kit.own_proc());
    let root = trial.folders.as_ref().and_then(|folders| root(folders, &kit, tell));
    let Some(root) = root else { return tell(Part::Mounts, Ok(())) };
    let entered = root.enter().and_then(|()| namespaces::set_host_name("trial"));
    let is_in = entered.is_ok();
    tell(Part::Mounts, entered);
    if !is_in {
        return;
    }
    match sys::fork_bare(|| command(trial, tell)) {
        Ok(command) => match wait(command) {
            Some(status) if status.exit_status() == Some(ARGUMENTS.len() as i32) => {
                tell(Part::Program, Ok(()));
            }
            Some(status) if status.signaled() => tell(Part::Program, Err(RunError::Killed)),
            // It has said why.
            _ => {}
        },
        Err(error) => tell(Part::Program, Err(RunError::setup("fork")(error))),
    }
}

/// The life of the process that becomes the program; returns its exit status if it does not.
fn command(trial: &Trial, tell: Tell<'_>) -> i32 {
    if let Some(filter) = &trial.filter {
        // The listener is closed, so the calls that are meant for it fail: the program makes none.
        let installed = seccomp::install(filter)
            .map(drop)
            .map_err(|error| RunError::Filter { reason: in_words(&error) });
        let is_installed = installed.is_ok();
        tell(Part::Filter, installed);
        if !is_installed {
            return NOT_RUN;
        }
    }
    let errno = sys::exec_bare(PROGRAM, ARGUMENTS);
    let program = PROGRAM.to_string_lossy().into_owned();
    let source = std::io::Error::from_raw_os_error(errno).into();
    tell(Part::Program, Err(RunError::Execute { program, source }));
    NOT_RUN
}

/// Mounts a root file system of each kind; returns the best that is possible.
fn root(folders: &TrialFolders, kit: &Kit, tell: Tell<'_>) -> Option<Root> {
    let TrialFolders { lower, upper, work } = folders;
    let overlay = RootFs::Overlay(Overlay {
        lowers: vec![lower.clone()],
        joined: None,
        upper: upper.clone(),
        work: work.clone(),
    });
    let folder = RootFs::Folder(Folder { path: lower.clone(), is_own: false, work: work.clone() });
    let mount = |root: &RootFs, name: &str, part: Part| {
        let place = || -> Result<OwnedFd, RunError> {
            make_folder(kit.staging(), name).map_err(RunError::setup("make a folder"))
        };
        match place().and_then(|place| Root::mount(root, None, place)) {
            Ok(mounted) => {
                tell(part, Ok(()));
                Some(mounted)
            }
            Err(error) => {
                tell(part, Err(error));
                None
            }
        }
    };
    let overlay = mount(&overlay, "overlay-trial", Part::Overlay);
    let folder = mount(&folder, "folder-trial", Part::Folder);
    overlay.or(folder)
}
