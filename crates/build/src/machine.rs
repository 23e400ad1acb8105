//! The machine that a build runs on, as far as it is no matter of the build itself.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use xbuild_registry::Proxies;

use crate::problem::Problem;

/// What a machine has. It is read from the environment by whoever starts a build.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The folder of the store; `None` where nobody knows a place for it.
    pub store: Option<PathBuf>,
    /// Whether the user named that folder; else it is in the home folder.
    pub store_is_named: bool,
    /// Where programs are looked for, as in `PATH`.
    pub search_path: OsString,
    /// The proxies for registries and web servers.
    pub proxies: Proxies,
    /// Docker's `config.json`, which need not exist.
    pub docker_config: Option<PathBuf>,
    /// The socket of the user's SSH agent.
    pub ssh_agent: Option<PathBuf>,
    /// The variables that git is given: where proxies and the SSH agent are.
    pub git_environment: Vec<(String, String)>,
}

impl Machine {
    /// Returns the folder of the store.
    ///
    /// **Errors** — also where root would make it in the home folder of another user, who could
    /// not write there any more.
    pub fn store_root(&self) -> Result<&Path, Problem> {
        let root = self.store.as_deref().ok_or_else(|| {
            Problem::command_line("there is no home folder to keep the store in")
                .with_hint("name a folder with --root or XBUILD_ROOT")
        })?;
        let is_root = rustix::process::geteuid().is_root();
        match root.ancestors().find_map(|path| Some((path, path.metadata().ok()?.uid()))) {
            Some((home, owner)) if is_root && owner != 0 && !self.store_is_named => {
                Err(Problem::command_line(format!(
                    "root builds, but {} belongs to user {owner}, who could not use a store that \
                     root makes there",
                    home.display()
                ))
                .with_hint(format!(
                    "name a folder of root's with --root or XBUILD_ROOT, or set HOME; \
                     --root {} takes this one all the same",
                    root.display()
                )))
            }
            _ => Ok(root),
        }
    }
}
