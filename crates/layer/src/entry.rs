//! A file of a layer or a tree, without its contents.

use serde::{Deserialize, Serialize};

/// A point in time: whole seconds since the epoch (may be negative) and nanoseconds.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Mtime {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// The metadata that files of all kinds have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Meta {
    /// The permission bits with set-uid, set-gid and sticky: at most `0o7777`.
    pub mode: u32,
    /// The owner, as numbered inside the image.
    pub uid: u32,
    /// The group, as numbered inside the image.
    pub gid: u32,
    /// The modification time.
    pub mtime: Mtime,
    /// Extended attributes that a layer may carry, by name ascending.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The kind of a file, with the data that only this kind has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file of `size` bytes.
    File {
        /// Bytes, holes included.
        size: u64,
    },
    /// A symbolic link. The target is kept byte for byte.
    Symlink {
        /// The text of the link.
        target: Vec<u8>,
    },
    /// A further name of a file of the same layer.
    HardLink {
        /// The path of that file, in the form of [`Entry::path`].
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// A file of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The path below the root of the file system: parts joined by `/`, without a leading or
    /// trailing slash. No part is empty, `.` or `..`; all other bytes are allowed. The root itself
    /// is the empty path.
    pub path: Vec<u8>,
    /// The kind.
    pub kind: Kind,
    /// Owner, mode, times, attributes. A hard link has those of its target.
    pub meta: Meta,
}

/// One statement of a layer about a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// The file exists and replaces that of lower layers; folders are merged.
    Put(Entry),
    /// The file of lower layers at this path is gone.
    Whiteout(Vec<u8>),
    /// The files of lower layers *below* this folder are gone.
    Opaque(Vec<u8>),
}

/// A hash of a regular file's bytes, see [`crate::ContentHasher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);
