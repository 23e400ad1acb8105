//! The kernel's facts about files and names.

use rustix::fs::FileType;
use xbuild_layer::Mtime;

/// The result of `stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// The kind.
    pub kind: FileType,
    /// The permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    /// The owner, as numbered in the user namespace of the caller.
    pub uid: u32,
    /// The group, likewise.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// The modification time.
    pub mtime: Mtime,
    /// The time of the last change of any kind. The kernel keeps it, and nobody can set it.
    pub ctime: Mtime,
    /// The device of its file system.
    pub dev: u64,
    /// Its number on the device.
    pub ino: u64,
    /// The number of its names.
    pub nlink: u64,
    /// The major and minor number of a device node.
    pub device: (u32, u32),
}

impl Stat {
    /// Returns whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// Returns whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    /// Returns whether it is the mark of overlayfs for a removed file: a character device 0:0.
    pub fn is_whiteout(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.device == (0, 0)
    }
}

// The integer types differ by architecture.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
impl From<rustix::fs::Stat> for Stat {
    fn from(stat: rustix::fs::Stat) -> Self {
        let device = stat.st_rdev as u64;
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: Mtime { secs: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 },
            ctime: Mtime { secs: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u32 },
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            nlink: stat.st_nlink as u64,
            device: (rustix::fs::major(device), rustix::fs::minor(device)),
        }
    }
}

/// One name of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name: any bytes but `/` and NUL; never `.` or `..`.
    pub name: Vec<u8>,
    /// Whether the file system says that it is a folder. This is a hint: it may be unknown.
    pub maybe_dir: bool,
}
