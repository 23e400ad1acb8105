//! The fetcher: it fetches each source once, for all callers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xbuild_model::StepFailure;
use xbuild_model::remote::RemoteSource;
use xbuild_model::seam::Sources;
use xbuild_registry::Client;
use xbuild_store::Store;

use crate::error::FetchError;
use crate::options::{FetchOptions, Tools};
use crate::{git, http};

/// Fetches remote sources into folders of a store.
#[derive(Debug)]
pub struct Fetcher {
    tools: Tools,
    /// The sources that were fetched, each with a lock that is held while it is fetched.
    done: Mutex<HashMap<RemoteSource, Arc<Mutex<Option<PathBuf>>>>>,
}

impl Fetcher {
    /// Makes a fetcher. It connects and starts nothing yet.
    pub fn new(store: Arc<Store>, client: Client, options: FetchOptions) -> Self {
        Self { tools: Tools { store, client, options }, done: Mutex::default() }
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
            RemoteSource::Http(source) => http::fetch(&self.tools, source)?,
            RemoteSource::Git(source) => git::fetch(&self.tools, source)?,
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
