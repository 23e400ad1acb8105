//! The root file system of a step: the folders that `snapshot` prepares and `exec` mounts.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A writable root file system, ready to be entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// The folders of an overlay mount.
    Overlay(Overlay),
}

/// The folders of an overlay mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The unpacked layers, the *newest* first, as overlayfs wants them; may be empty.
    pub lowers: Vec<PathBuf>,
    /// A mount of the oldest of them, if there are many.
    pub joined: Option<Joined>,
    /// The folder that takes changes.
    pub upper: PathBuf,
    /// overlayfs's work folder, on the file system of `upper`. The runner may make folders and
    /// files beside it whose names begin with its own; they are removed together.
    pub work: PathBuf,
}

/// The lower part of a stack, mounted as one layer; see [`Namespace::join`](crate::seam::Namespace::join).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// How many of the folders it shows, counted from the *oldest*.
    pub count: usize,
    /// Where it is mounted, inside the build's namespace.
    pub point: PathBuf,
}

impl Joined {
    /// Returns the layers that are not joined, the newest first.
    pub fn rest<'a>(&self, lowers: &'a [PathBuf]) -> &'a [PathBuf] {
        &lowers[..lowers.len().saturating_sub(self.count)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_the_newest_layers() {
        let lowers: Vec<PathBuf> = ["newest", "middle", "oldest"].map(PathBuf::from).into();
        let joined = |count| Joined { count, point: PathBuf::new() };
        assert_eq!(joined(2).rest(&lowers), &lowers[..1]);
        assert_eq!(joined(0).rest(&lowers), &lowers[..]);
        assert!(joined(4).rest(&lowers).is_empty());
    }
}
