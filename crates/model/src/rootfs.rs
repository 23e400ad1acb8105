//! The root file system of a step: the folders that `snapshot` prepares and `exec` mounts.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A kind of root file system. `exec` chooses it for a build, `snapshot` makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RootKind {
    /// An overlay mount of the layers' folders.
    Overlay,
    /// One folder with the files of all layers, carried forward from step to step.
    Folder,
    /// The root of the container that xbuild runs in, as such a folder.
    Own,
}

impl fmt::Display for RootKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Overlay => "overlay",
            Self::Folder => "folder",
            Self::Own => "own",
        })
    }
}

/// A writable root file system, ready to be entered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootFs {
    /// The folders of an overlay mount.
    Overlay(Overlay),
    /// A folder that has all files.
    Folder(Folder),
}

impl RootFs {
    /// Returns a path on the file system of the root. The runner may make folders and files beside
    /// it whose names begin with its own; they are removed when the step is over.
    pub fn work(&self) -> &Path {
        match self {
            Self::Overlay(overlay) => &overlay.work,
            Self::Folder(folder) => &folder.work,
        }
    }

    /// Returns the file with the [`OwnersBelow`](crate::owner::OwnersBelow), as JSON, where there is
    /// one id. `snapshot` writes it beside [`work`](Self::work).
    pub fn owners(&self) -> PathBuf {
        let mut name = self.work().as_os_str().to_owned();
        name.push(".owners");
        name.into()
    }
}

/// A folder with the files of all layers. The command changes them in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The folder that becomes the root.
    pub path: PathBuf,
    /// Whether it is the root of this process, too, with other mounts and files that are not the
    /// image's.
    pub is_own: bool,
    /// See [`RootFs::work`].
    pub work: PathBuf,
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
    /// overlayfs's work folder, on the file system of `upper`; see also [`RootFs::work`].
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
