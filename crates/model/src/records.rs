//! Records of a step: facts about its files that the kernel refused to keep on disk and that the
//! layer must have all the same.
//!
//! The runner collects them while the command runs, and the layer is made from the changed files
//! and these records together.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::device::Device;
use crate::owner::{FileNumber, Owner};

/// Everything that the layer of one step needs beside the changed files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    /// The devices that the command made. A stand-in with the attribute
    /// [`ATTRIBUTE`](crate::device::ATTRIBUTE) counts only if its device is listed here or exists
    /// in the layers below: any user of the step can write the attribute.
    pub devices: BTreeSet<Device>,
    /// The owners of files that can have no attribute, where they are recorded. A file that is not
    /// here has the owner that it has in the layers below.
    #[serde(with = "as_list")]
    pub owners: BTreeMap<FileNumber, Owner>,
}

/// Maps in JSON have texts as keys.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::owner::{FileNumber, Owner};

    type Owners = BTreeMap<FileNumber, Owner>;

    pub(super) fn serialize<S: Serializer>(owners: &Owners, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(owners)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Owners, D::Error> {
        Ok(Vec::<(FileNumber, Owner)>::deserialize(from)?.into_iter().collect())
    }
}

/// Where the owners of files are kept, in the build's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owners {
    /// On disk: the namespace has a range of ids, and a file belongs to its owner. Those that do not
    /// exist there are recorded as below.
    Real,
    /// In an attribute of each file, and in lists for files that can have none: the namespace has one
    /// id, and it owns all files on disk. See [`crate::owner`].
    Recorded,
}
