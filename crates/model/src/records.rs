//! Records of a step: facts about its files that the kernel refused to keep on disk and that the
//! layer must have all the same.
//!
//! The runner collects them while the command runs, and the layer is made from the changed files
//! and these records together.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::device::Device;

/// Everything that the layer of one step needs beside the changed files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The devices that the command made. A stand-in with the attribute
    /// [`ATTRIBUTE`](crate::device::ATTRIBUTE) counts only if its device is listed here or exists
    /// in the layers below: any user of the step can write the attribute.
    pub devices: BTreeSet<Device>,
}

/// Where the owners of files are kept, in the build's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owners {
    /// On disk: the namespace has a range of ids, and a file belongs to its owner.
    Real,
    /// In the tree index: the namespace has one id, and it owns all files on disk.
    Recorded,
}
