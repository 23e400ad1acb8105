//! One file of a layer or a tree, without its contents.

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

/// What every kind of file has.
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
    /// Extended attributes, by name ascending; only those that a layer may carry.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file of `size` bytes.
    File {
        /// Bytes, holes included.
        size: u64,
    },
    /// A symbolic link; the target is kept byte for byte.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// Another name of a file of the same layer.
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
    /// The path below the root of the file system: parts joined by `/`, none of them empty, `.`
    /// or `..`; no leading or trailing slash; empty for the root itself. Any other bytes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Owner, mode, times, attributes. Of a hard link: as its target's.
    pub meta: Meta,
}

/// One thing that a layer says about a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Change {
    /// The file is there, instead of what lower layers have (folders merge).
    Put(Entry),
    /// What lower layers have at this path is gone.
    Whiteout(Vec<u8>),
    /// What lower layers have *below* this folder is gone.
    Opaque(Vec<u8>),
}

/// The SHA-256 of a regular file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);
