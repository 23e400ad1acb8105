//! The machine that a build runs on: everything that is not part of the request.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xbuild_model::run::SecretBytes;
use xbuild_registry::Proxies;

use crate::error::OpenError;

/// What a machine has. Whoever starts a build reads it from the environment; nothing else in this
/// crate does.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The folder of the store; `None` where nobody knows a place for it.
    pub store: Option<PathBuf>,
    /// Whether the user named that folder; else it is in the home folder.
    pub store_is_named: bool,
    /// Where programs are looked for, as in `PATH`.
    pub search_path: OsString,
    /// The number of processors: so many steps run at once if the request does not say.
    pub processors: Option<NonZeroUsize>,
    /// The proxies for registries and web servers.
    pub proxies: Proxies,
    /// Docker's `config.json`, which need not exist.
    pub docker_config: Option<PathBuf>,
    /// The socket of the user's SSH agent.
    pub ssh_agent: Option<PathBuf>,
    /// The variables that git is given: where proxies and the SSH agent are.
    pub git_environment: Vec<(String, String)>,
    /// The environment variables that secrets of the request come from.
    pub secret_variables: BTreeMap<String, SecretBytes>,
}

/// The owner that files have in a user namespace without their owner's id: `overflowuid`. Root of
/// such a namespace may well be that user.
const UNMAPPED: u32 = 65534;

impl Machine {
    /// Returns the folder of the store.
    ///
    /// **Errors** — also where root would make it in the home folder of another user, who could
    /// not write there any more.
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
