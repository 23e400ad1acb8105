//! Each source is fetched once, whoever asks.

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

/// How to fetch.
#[derive(Clone, Default)]
pub struct FetchOptions {
    /// Where the program `git` and what it runs are looked for, as in `PATH`.
    pub search_path: OsString,
    /// What else of the environment git is given: proxies, the socket of the SSH agent.
    pub environment: Vec<(String, String)>,
    /// Where secrets named `GIT_AUTH_TOKEN` and so on are looked up.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Whether repositories on this machine (`file://`) may be fetched. For tests: such a
    /// repository can lead git to files of whoever runs it.
    pub allow_files: bool,
    /// Takes what the user should know.
    pub on_warning: Option<Arc<WarningSink>>,
}

/// Takes warnings, from several threads.
pub type WarningSink = dyn Fn(&FetchWarning) + Send + Sync;

/// What is worth telling the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchWarning {
    /// A repository has submodules, and nobody said whether they are wanted: they are not there.
    Submodules {
        /// The repository.
        remote: String,
    },
}

impl fmt::Display for FetchWarning {
    /// Writes one line; names stand as the Dockerfile has them.
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
    /// What was fetched; each with a lock of its own, held while it is being fetched.
    done: Mutex<HashMap<RemoteSource, Arc<Mutex<Option<PathBuf>>>>>,
}

impl Fetcher {
    /// Makes a fetcher. Nothing is connected or started yet.
    pub fn new(store: Arc<Store>, client: Client, options: FetchOptions) -> Self {
        Self { store, client, options, done: Mutex::default() }
    }

    /// Returns the folder that a source was fetched to; see [`Sources::fetch`].
    ///
    /// **Errors** — any; nothing of a failed attempt is kept.
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

/// Locks what is whole at any time: it is only added to.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
