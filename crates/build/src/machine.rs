//! The machine that a build runs on, as far as it is not part of the request.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use xbuild_exec::OwnRoot;
use xbuild_model::run::SecretBytes;
use xbuild_registry::Proxies;

use crate::bound::Bound;
use crate::error::OpenError;

/// The properties of a machine that a build uses. `cli` reads them from the environment; this crate
/// never does.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The folder of the store; `None` without a home folder.
    pub store: Option<PathBuf>,
    /// Whether the user named that folder. Otherwise it is in the home folder.
    pub store_is_named: bool,
    /// How much the store may take up after a build.
    pub bound: Bound,
    /// The folders with programs, in the format of `PATH`.
    pub search_path: OsString,
    /// Where xbuild runs, for advice.
    pub place: xbuild_exec::Place,
    /// Whether steps may have the root of this container as theirs; see [`OwnRoot`].
    pub own_root: bool,
    /// The number of processors, and of steps that run at once unless the request says otherwise.
    pub processors: Option<NonZeroUsize>,
    /// The proxies for registries and web servers.
    pub proxies: Proxies,
    /// Docker's `config.json`, which need not exist.
    pub docker_config: Option<PathBuf>,
    /// The daemon of Docker's client: `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// The context of Docker's client: `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// Whether Docker's client speaks TLS to that daemon.
    pub docker_tls: bool,
    /// The folder of the user's sockets.
    pub runtime_folder: Option<PathBuf>,
    /// The file that `xbuild login` changes, which need not exist.
    pub login_file: Option<PathBuf>,
    /// Where logins are, in the order in which they are tried.
    pub logins: Vec<LoginPlace>,
    /// Registries that need no certificate, nor TLS: those of the command line and the environment.
    pub insecure_registries: Vec<String>,
    /// Mirrors of registries, from the command line: the registry and `HOST[:PORT][/PATH]`.
    pub registry_mirrors: Vec<(String, String)>,
    /// The files with options of registries.
    pub host_files: HostFiles,
    /// The time that a credential helper may take, if it is not the usual one.
    pub credential_patience: Option<Duration>,
    /// The home folder, if this user must not look into it: then there is no `docker_config`.
    pub closed_home: Option<PathBuf>,
    /// The socket of the user's SSH agent.
    pub ssh_agent: Option<PathBuf>,
    /// The environment of git: proxies and the socket of the SSH agent.
    pub git_environment: Vec<(String, String)>,
    /// The values of the environment variables that secrets of the request name.
    pub secret_variables: BTreeMap<String, SecretBytes>,
}

/// Where the files with options of registries may be.
#[derive(Debug, Clone, Default)]
pub struct HostFiles {
    /// xbuild's own configuration.
    pub own: Option<PathBuf>,
    /// Folders with a folder for each registry, in the order in which they count.
    pub certs_d: Vec<PathBuf>,
    /// The files of containers' tools; the first that is there counts.
    pub registries_conf: Vec<PathBuf>,
    /// BuildKit's files; the first that is there counts.
    pub buildkitd: Vec<PathBuf>,
}

/// A place of logins: Docker's `config.json`, a containers `auth.json`, or the text of one.
#[derive(Clone)]
pub enum LoginPlace {
    /// A file. If it is there by chance only, it need not exist.
    File {
        /// The path.
        path: PathBuf,
        /// Whether the user named it.
        is_named: bool,
    },
    /// The value of an environment variable.
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value, which may hold passwords.
        text: String,
    },
}

impl fmt::Debug for LoginPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => path.fmt(f),
            Self::Variable { name, .. } => f.write_str(name),
        }
    }
}

/// The owner that files have in a user namespace without their owner's id: `overflowuid`. Root of
/// such a namespace may well be that user.
const UNMAPPED: u32 = 65534;

impl Machine {
    /// Returns the root of this container, for steps.
    pub(crate) fn own_root(&self) -> Option<OwnRoot> {
        let store = self.store_root().ok()?.to_owned();
        Some(OwnRoot { is_allowed: self.own_root, store })
    }

    /// Returns the folder of the store.
    ///
    /// **Errors** — also if root would make it in the home folder of another user, who could then
    /// no longer write there.
    pub fn store_root(&self) -> Result<&Path, OpenError> {
        let root = self.store.as_deref().ok_or(OpenError::NoStore)?;
        let is_root = rustix::process::geteuid().is_root();
        match root.ancestors().find_map(|path| Some((path, path.metadata().ok()?.uid()))) {
            Some((home, owner))
                if is_root && ![0, UNMAPPED].contains(&owner) && !self.store_is_named =>
            {
                let (home, root) = (home.to_owned(), root.to_owned());
                Err(OpenError::ForeignHome { home, owner, root })
            }
            _ => Ok(root),
        }
    }
}
