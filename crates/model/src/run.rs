//! What a RUN step asks of the executor.

use serde::{Deserialize, Serialize};

use crate::Platform;

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
    /// Extra variables that are seen by the command but are no part of the cache key: proxies.
    pub unkeyed_env: Vec<(String, String)>,
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
    /// What the build's `--network` says; the host's in the end.
    Default,
    /// A loopback interface only.
    None,
    /// The host's.
    Host,
}

/// How a command ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Its exit status, 0 for success.
    Code(i32),
    /// The signal that ended it.
    Signal(i32),
}
