//! The fetcher: it fetches each source once, for all callers.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xbuild_model::StepFailure;
use xbuild_model::remote::RemoteSource;
use xbuild_model::seam::{Secrets, Sources};
use xbuild_registry::Client;
use xbuild_store::Store;

use crate::error::FetchError;
use crate::{git, http};

/// Options of a [`Fetcher`].
#[derive(Clone, Default)]
pub struct FetchOptions {
    /// The folders that are searched for `git` and the programs that it runs, as in `PATH`.
    pub search_path: OsString,
    /// Further environment variables for git: proxies, the socket of the SSH agent.
    pub environment: Vec<(String, String)>,
    /// The secrets of the build: `GIT_AUTH_TOKEN`, `HTTP_AUTH_HEADER_HOST` and so on.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Whether repositories on this machine (`file://`) may be fetched. Only for tests: such a
    /// repository can lead git to files of the user.
    pub allow_files: bool,
    /// Takes warnings for the user.
    pub on_warning: Option<Arc<WarningSink>>,
}

/// Takes warnings, from several threads.
pub type WarningSink = dyn Fn(&FetchWarning) + Send + Sync;

/// A warning for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchWarning {
    /// A repository has submodules, which were left out because the source does not mention them.
    Submodules {
        /// The repository.
        remote: String,
    },
}

impl fmt::Display for FetchWarning {
    /// Writes one line; names are written as in the Dockerfile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submodules { remote } => write!(
                f,
                "{remote} has submodules, which are not fetched: ask for them with \
                 ?submodules=true, or silence this with ?submodules=false"
            ),
        }
    }
}

impl fmt::Debug for FetchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions")
            .field("search_path", &self.search_path)
            .field("allow_files", &self.allow_files)
            .finish_non_exhaustive()
    }
}

/// Fetches remote sources into folders of a store.
#[derive(Debug)]
pub struct Fetcher {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) options: FetchOptions,
    /// The sources that were fetched, each with a lock that is held while it is fetched.
    done: Mutex<HashMap<RemoteSource, Arc<Mutex<Option<PathBuf>>>>>,
}

impl Fetcher {
    /// Makes a fetcher. It connects and starts nothing yet.
    pub fn new(store: Arc<Store>, client: Client, options: FetchOptions) -> Self {
        Self { store, client, options, done: Mutex::default() }
    }

    /// Returns the folder that a source was fetched to; see [`Sources::fetch`].
    ///
    /// **Errors** — any; the store keeps nothing of a failed attempt.
    pub fn folder(&self, source: &RemoteSource) -> Result<PathBuf, FetchError> {
        let own = Arc::clone(lock(&self.done).entry(source.clone()).or_default());
        let mut own = lock(&own);
        if let Some(folder) = &*own {
            return Ok(folder.clone());
        }
        let folder = match source {
            RemoteSource::Http(source) => http::fetch(self, source)?,
            RemoteSource::Git(source) => git::fetch(self, source)?,
        };
        *own = Some(folder.clone());
        Ok(folder)
    }
}

impl Sources for Fetcher {
    fn fetch(&self, source: &RemoteSource) -> Result<PathBuf, StepFailure> {
        Ok(self.folder(source)?)
    }
}

/// Locks a value that is whole at any time: it is only added to.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
