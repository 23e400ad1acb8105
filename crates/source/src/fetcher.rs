//! The fetcher: it fetches each source once, for all callers.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xbuild_model::remote::RemoteSource;
use xbuild_model::seam::Sources;
use xbuild_model::{Digest, StepFailure};
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
    done: Mutex<HashMap<RemoteSource, Arc<Mutex<Option<Fetched>>>>>,
}

/// A source that was fetched.
#[derive(Debug, Clone)]
struct Fetched {
    folder: PathBuf,
    /// Its version; `None` until somebody asks.
    pin: Option<Pin>,
}

/// The version of a source: whoever has it can tell whether he got the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The digest of a file.
    File(Digest),
    /// All digits of a commit.
    Commit(String),
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
        self.with(source, |fetched| Ok(fetched.folder.clone()))
    }

    /// Returns the version of a source, which is fetched unless it was.
    ///
    /// **Errors** — any; also if the fetched file cannot be read.
    pub fn pin(&self, source: &RemoteSource) -> Result<Pin, FetchError> {
        self.with(source, |fetched| match (&fetched.pin, source) {
            (None, RemoteSource::Http(source)) => {
                let pin = Pin::File(http::digest(&fetched.folder, source)?);
                Ok(fetched.pin.insert(pin).clone())
            }
            (pin, _) => Ok(pin.clone().expect("a commit is known when it was fetched")),
        })
    }

    /// Fetches a source unless it was, and calls `work` with it.
    fn with<T>(
        &self,
        source: &RemoteSource,
        work: impl FnOnce(&mut Fetched) -> Result<T, FetchError>,
    ) -> Result<T, FetchError> {
        let own = Arc::clone(lock(&self.done).entry(source.clone()).or_default());
        let mut own = lock(&own);
        let fetched = match own.take() {
            Some(fetched) => fetched,
            None => match &passed(&self.tools, source)? {
                RemoteSource::Http(source) => {
                    Fetched { folder: http::fetch(&self.tools, source)?, pin: None }
                }
                RemoteSource::Git(source) => {
                    let (folder, commit) = git::fetch(&self.tools, source)?;
                    Fetched { folder, pin: Some(Pin::Commit(commit)) }
                }
            },
        };
        work(own.insert(fetched))
    }
}

/// Returns what is fetched in place of a source.
fn passed(tools: &Tools, source: &RemoteSource) -> Result<RemoteSource, FetchError> {
    match &tools.options.gate {
        Some(gate) => gate(source).map_err(FetchError::Refused),
        None => Ok(source.clone()),
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
