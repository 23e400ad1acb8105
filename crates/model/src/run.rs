//! The request of a RUN step to the executor.

use serde::{Deserialize, Serialize};

use crate::Platform;
use crate::owner::Owner;

/// A command to run on a root file system. Everything is expanded; names of users are not looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunRequest {
    /// The program and its arguments, at least one. A program without `/` is looked up in `PATH`.
    pub argv: Vec<String>,
    /// The whole environment, in order, names unique; `HOME` is added from the passwd file if absent.
    pub env: Vec<(String, String)>,
    /// The working directory: absolute; made if it is missing.
    pub cwd: String,
    /// `USER` as written: name or number, optionally `:` and a group; empty for root.
    pub user: String,
    /// The platform of the programs.
    pub platform: Platform,
    /// The network.
    pub network: Network,
    /// The rights of the command.
    pub security: Security,
    /// The host name.
    pub hostname: String,
    /// Lines for `/etc/hosts`: (name, address).
    pub extra_hosts: Vec<(String, String)>,
    /// Resource limits: (name as in `ulimit`, soft, hard).
    pub ulimits: Vec<(String, u64, u64)>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Files given to the command, not part of the root file system: heredoc scripts.
    pub scripts: Vec<Script>,
    /// The mounts for the command only, in order.
    pub mounts: Vec<Mount>,
    /// Extra variables that are seen by the command but are no part of the cache key: proxies.
    pub unkeyed_env: Vec<(String, String)>,
}

/// A mount that exists only while the command runs (RUN `--mount`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mount {
    /// The mount point: absolute and clean, never `/`. Empty for a secret that is a variable only.
    pub target: String,
    /// The source.
    pub kind: MountKind,
}

/// The source of a mount. Files of stages and contexts are the layers of an input of the step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MountKind {
    /// Files of an input. The step's own changes, if it may make any, are thrown away.
    Bind {
        /// Their place.
        source: MountSource,
        /// Whether the step may write.
        writable: bool,
    },
    /// A folder that outlives the step and is part of no layer and no key.
    Cache {
        /// Its name; owner and mode are part of its identity.
        id: String,
        /// The way to share it with other steps.
        sharing: Sharing,
        /// The first contents.
        seed: Option<MountSource>,
        /// The mode of a new one.
        mode: u32,
        /// The owner of a new one.
        uid: u32,
        /// The group of a new one.
        gid: u32,
        /// Whether the step may not write.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes at most.
        size: Option<u64>,
    },
    /// A secret as a file, as a variable, or both. Nobody but the step knows its value.
    Secret {
        /// Its name on the command line.
        id: String,
        /// The variable.
        env: Option<String>,
        /// The mode of the file.
        mode: u32,
        /// The owner of the file.
        uid: u32,
        /// The group of the file.
        gid: u32,
        /// Whether the step fails without it.
        required: bool,
    },
    /// The socket of an SSH agent.
    Ssh {
        /// Its name on the command line.
        id: String,
        /// The mode of the socket.
        mode: u32,
        /// The owner of the socket.
        uid: u32,
        /// The group of the socket.
        gid: u32,
        /// Whether the step fails without it.
        required: bool,
    },
}

/// A file or folder of an input of a step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MountSource {
    /// The place of the input among the step's mount inputs.
    pub input: usize,
    /// The path in it, absolute and clean; `/` for all of it.
    pub path: String,
}

/// The number of steps that may use a cache folder at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    /// Any number of steps.
    Shared,
    /// One step; another gets a new folder.
    Private,
    /// One step; another waits.
    Locked,
}

/// The name of a link beside a folder of the store while a step has the folder somewhere else.
pub const LENT: &str = "lent";

/// The name of a file beside a cache folder: the owners of files that can have no attribute. Each line
/// is a [`FileNumber`](crate::owner::FileNumber) and an [`Owner`] as a JSON list; the last line about a
/// file counts.
pub const OWNERS: &str = "owners";

/// The name of a file beside a cache folder that was filled from layers: the owners of its files that
/// can have no attribute, as a JSON list of paths and owners. The first step moves them to [`OWNERS`].
pub const FIRST_OWNERS: &str = "first-owners";

/// A mount for the executor: its contents are at hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadyMount {
    /// The mount point: absolute and clean.
    pub target: String,
    /// The source.
    pub source: ReadySource,
    /// Its files that are not root's and can have no attribute, where there is one id: paths in the
    /// source without a leading slash; empty for the source itself. See [`crate::owner`].
    pub special: Vec<(Vec<u8>, Owner)>,
}

/// The source of a mount, at hand. All paths are of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadySource {
    /// A path within a stack of unpacked layers, the newest first. Links are looked up within the
    /// stack and do not lead out of it.
    Layers {
        /// The folders, as in [`crate::rootfs::Overlay::lowers`].
        lowers: Vec<std::path::PathBuf>,
        /// The path in them, absolute.
        path: String,
        /// Whether the step may write. Its changes are thrown away.
        writable: bool,
    },
    /// A path within a folder that has all files of a stack of layers. Links are looked up within
    /// the folder and do not lead out of it.
    Tree {
        /// The folder.
        folder: std::path::PathBuf,
        /// The path in it, absolute.
        path: String,
        /// Whether the step may write. The folder is thrown away then.
        writable: bool,
    },
    /// A file or folder of the user of this machine. Nothing of its owners is recorded there.
    Volume {
        /// Its path, without links.
        path: std::path::PathBuf,
        /// Whether the step may write.
        writable: bool,
    },
    /// A folder of the store. Where nothing can be mounted, the runner moves it to the step and back.
    /// The link [`LENT`] beside it leads to it meanwhile. Where there is one id, [`OWNERS`] beside it
    /// has the owners of its files that can have no attribute.
    Folder {
        /// Its path.
        path: std::path::PathBuf,
        /// Whether the step may not write.
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Bytes at most.
        size: Option<u64>,
    },
    /// A file in memory that is never swapped out, read-only for the step.
    Secret {
        /// Its contents.
        contents: SecretBytes,
        /// Its mode.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// A socket of this machine.
    Socket {
        /// Its path.
        path: std::path::PathBuf,
        /// Its mode inside.
        mode: u32,
        /// Its owner inside.
        uid: u32,
        /// Its group inside.
        gid: u32,
    },
}

/// Bytes that no log may show. Serialized only on the way to the step's own process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretBytes(pub Vec<u8>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// A file that exists only while the command runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Script {
    /// Its absolute path.
    pub path: String,
    /// Its contents.
    pub contents: String,
    /// Its mode, for root:root.
    pub mode: u32,
}

/// The network that a command sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Network {
    /// The network of the build's `--network`; the host's by default.
    Default,
    /// A loopback interface only.
    None,
    /// The host's.
    Host,
    /// A network of the step's own, which a program in user mode joins to the host's. Only as the
    /// choice for a build.
    Private,
}

/// The rights of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Security {
    /// Enough for builds: few capabilities, a system call filter, parts of `/proc` hidden.
    Sandbox,
    /// All rights that the build's user namespace can give. Only for builds that were granted them.
    Insecure,
}

/// The end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Its exit status, 0 for success.
    Code(i32),
    /// The signal that ended it.
    Signal(i32),
}
