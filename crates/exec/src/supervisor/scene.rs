//! The files of a step that the supervisor stands in for, where nothing can be mounted.

use std::os::fd::OwnedFd;

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
    /// Whether the step's `/dev` lacks the devices.
    pub(crate) lacks_devices: bool,
    /// Secrets.
    pub(crate) shown: Vec<Shown>,
}
