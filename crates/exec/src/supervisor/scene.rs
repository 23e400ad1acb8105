//! The facts about a step that its supervisor needs: the files that it stands in for, where nothing
//! can be mounted, and owners, where there is one id.

use std::cell::Cell;
use std::os::fd::OwnedFd;

use super::owners::ground::Ground;

/// The step's `/proc` where it is a folder: lists of processes and descriptors are made in it.
#[derive(Debug)]
pub(crate) struct ProcFolder {
    pub(crate) folder: OwnedFd,
    /// Device and inode of the step's root.
    pub(crate) root: (u64, u64),
    /// The number of the next name for execution.
    pub(crate) aliases: Cell<u32>,
}

/// A file in memory that is shown at a path of the step.
#[derive(Debug)]
pub(crate) struct Shown {
    /// The path as the step writes it, without links, dots and doubled slashes.
    pub(crate) path: Vec<u8>,
    /// Its place holder: device and inode.
    pub(crate) holder: (u64, u64),
    /// The file, which nobody can change.
    pub(crate) file: OwnedFd,
}

/// Everything that is answered beside the kernel.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    /// Whether calls that name files come for this.
    pub(crate) is_watched: bool,
    /// Whether the step's `/dev` lacks the devices.
    pub(crate) lacks_devices: bool,
    /// `None` where `/proc` is real.
    pub(crate) proc: Option<ProcFolder>,
    /// Secrets.
    pub(crate) shown: Vec<Shown>,
    /// The owners of files before the step, where they are recorded.
    pub(crate) owners: Option<Ground>,
    /// What programs that run natively are told about the machine.
    pub(crate) machine: Option<Machine>,
}

/// The machine that a step of another platform believes to be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Machine {
    /// As `uname -m` tells it.
    pub(crate) name: &'static str,
    /// The name of the host in the step's namespace.
    pub(crate) host: String,
}
