//! The machine that a build runs on, as far as it is no matter of the build itself.

use std::ffi::OsString;
use std::path::PathBuf;

use xbuild_registry::Proxies;

use crate::problem::Problem;

/// What a machine has. It is read from the environment by whoever starts a build.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The folder of the store; `None` where nobody knows a place for it.
    pub store: Option<PathBuf>,
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
    pub fn store_root(&self) -> Result<&PathBuf, Problem> {
        self.store.as_ref().ok_or_else(|| {
            Problem::command_line("there is no home folder to keep the store in")
                .with_hint("name a folder with --root or XBUILD_ROOT")
        })
    }
}
