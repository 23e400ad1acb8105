//! Connections for callers that block: a small runtime of their own, started with the first
//! request.
//!
//! A request is polled by the thread that makes it, and may block that thread. The connections
//! below are driven by one thread of their own, which only moves bytes; hashing and compression
//! happen elsewhere. If the kernel refuses that thread, whoever waits for an answer drives them.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Response, Url};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use xbuild_image::printable::printable;
use xbuild_model::thread;
use xbuild_wording::without_login;

use crate::endpoint::{Endpoint, Place};
use crate::error::RequestError;
use crate::mirrors::{Mirrors, is_silence};
use crate::options::ClientOptions;
use crate::request::{Call, Requests};
use crate::transport::incoming::Incoming;
use crate::transport::origin::Origin;
use crate::transport::retry::Attempts;
use crate::warning::RegistryWarning;

/// Twice the bytes of the first chunks of a registry that refuses a larger body: many proxies take
/// no more than 100 MB.
const FIRST_CHUNK: u64 = 128 << 20;
/// Bytes of the smallest chunks: a proxy that takes less is meant to take no image.
const LEAST_CHUNK: u64 = 32 << 10;

/// Requests, and the runtime that they are made on.
#[derive(Debug)]
pub(crate) struct Connections {
    pub(crate) options: Arc<ClientOptions>,
    pub(crate) requests: Requests,
    /// Registry -> the bytes that one request of an upload may have.
    chunks: Mutex<HashMap<String, u64>>,
    /// Registries that take blobs in a PATCH only.
    patched: Mutex<HashSet<String>>,
    pub(crate) mirrors: Mirrors,
    runtime: OnceLock<Driven>,
}

impl Connections {
    /// Returns a value without open connections.
    pub(crate) fn new(options: ClientOptions) -> Self {
        let options = Arc::new(options);
        let requests = Requests::new(Arc::clone(&options));
        Self {
            requests,
            options,
            chunks: Mutex::default(),
            patched: Mutex::default(),
            mirrors: Mirrors::default(),
            runtime: OnceLock::new(),
        }
    }

    /// Makes a request; see [`Requests::call`].
    pub(crate) fn call(&self, call: &Call<'_>) -> Result<Response, RequestError> {
        self.block_on(self.requests.call(call))?
    }

    /// As [`Connections::call`], after attempts that failed already.
    pub(crate) fn call_counted(
        &self,
        call: &Call<'_>,
        attempts: &mut Attempts,
    ) -> Result<Response, RequestError> {
        self.block_on(self.requests.call_counted(call, attempts))?
    }

    /// Makes a request once.
    pub(crate) fn once(&self, call: &Call<'_>) -> Result<Response, RequestError> {
        self.block_on(self.requests.attempt(call))?
    }

    /// Returns the bytes that one request of an upload may have; `None` if there is no limit.
    pub(crate) fn chunk_size(&self, endpoint: &Endpoint) -> Option<u64> {
        let chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let set = || self.options.host(endpoint.registry())?.chunk;
        chunks.get(endpoint.registry()).copied().or_else(set)
    }

    /// Lowers that number after a blob, or a part of one, was too large. Returns whether that can
    /// help.
    pub(crate) fn send_less(&self, endpoint: &Endpoint, size: u64) -> bool {
        let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let now = chunks.get(endpoint.registry()).copied().unwrap_or(FIRST_CHUNK).min(size) / 2;
        if now < LEAST_CHUNK {
            return false;
        }
        chunks.insert(endpoint.registry().to_owned(), now);
        true
    }

    /// Returns whether a registry takes blobs in a PATCH only.
    pub(crate) fn patches(&self, endpoint: &Endpoint) -> bool {
        let patched = self.patched.lock().unwrap_or_else(PoisonError::into_inner);
        patched.contains(endpoint.registry())
    }

    /// Notes that a registry takes blobs in a PATCH only.
    pub(crate) fn note_patches(&self, endpoint: &Endpoint) {
        let mut patched = self.patched.lock().unwrap_or_else(PoisonError::into_inner);
        patched.insert(endpoint.registry().to_owned());
    }

    /// Returns the places that a repository can be pulled from; see [`Place::all`].
    pub(crate) fn places(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Vec<Place>, RequestError> {
        let (places, nameless) = Place::all(registry, repository, &self.options)?;
        for mirror in nameless {
            // Whoever writes a URL there may write a password.
            let name = without_login(&format!("{}/{}", mirror.host, mirror.path));
            let name = printable(name.trim_end_matches('/'), 100);
            self.tell_mirror_answer(&name, "its name is not HOST[:PORT][/PATH]".to_owned());
        }
        Ok(places)
    }

    /// Tells once that a mirror failed, and gives one up that does not answer. One that lacks something
    /// is none that failed.
    pub(crate) fn tell_mirror(&self, mirror: &Endpoint, error: &RequestError) {
        let (name, reason) = (mirror.registry(), error.to_string());
        if is_silence(error) {
            if self.mirrors.give_up(name) {
                let mirror = name.to_owned();
                self.options.warn(&RegistryWarning::SilentMirror { mirror, reason });
            }
        } else if error.status() != Some(404) {
            self.tell_mirror_answer(name, reason);
        }
    }

    /// Tells once that a mirror failed, also one whose answer is not what was asked for.
    pub(crate) fn tell_mirror_answer(&self, mirror: &str, reason: String) {
        if self.mirrors.fail(mirror) {
            self.options.warn(&RegistryWarning::Mirror { mirror: mirror.to_owned(), reason });
        }
    }

    /// Waits before another attempt; see [`Requests::wait`].
    pub(crate) fn wait(&self, endpoint: &Endpoint, failures: u32, error: &RequestError) {
        // Making the runtime cannot fail, since the failed request was made on it; and the next
        // attempt notices if the work is not wanted any more.
        let _ = self.block_on(self.requests.wait(endpoint, failures, error));
    }

    /// Waits before another attempt at a URL of a server that is no registry.
    pub(crate) fn pause(
        &self,
        url: &str,
        failures: u32,
        error: &RequestError,
    ) -> Result<(), RequestError> {
        let delay = self.options.retries.delay(failures, error.retry_after());
        let origin = Url::parse(url).ok().and_then(|url| Origin::of(&url));
        let server = origin.map(|origin| origin.name()).unwrap_or_default();
        self.block_on(self.requests.pause(&server, delay, error))
    }

    /// Returns the next bytes of a body, `None` at its end.
    pub(crate) fn chunk(&self, incoming: &mut Incoming) -> Result<Option<Bytes>, RequestError> {
        self.block_on(self.requests.transport.chunk(incoming))?
    }

    /// Makes a request and returns headers and body, which has at most `limit` bytes. A body that
    /// breaks off is requested again.
    pub(crate) fn fetch(
        &self,
        call: &Call<'_>,
        limit: u64,
    ) -> Result<(HeaderMap, Bytes), RequestError> {
        // The attempts at head and body count together.
        let mut attempts = Attempts::default();
        loop {
            let (headers, body) = self.block_on(async {
                let response = self.requests.call_counted(call, &mut attempts).await?;
                let headers = response.headers().clone();
                Ok((headers, self.requests.transport.body(response, limit).await))
            })??;
            match body {
                Ok(body) => return Ok((headers, body)),
                Err(error) if !call.once && attempts.again(&self.options.retries, &error) => {
                    self.wait(call.endpoint, attempts.failures(), &error);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a future, but not longer than the work is wanted.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> Result<T, RequestError> {
        let (tell, told) = oneshot::channel();
        let _hook = self.options.cancel.on_cancel(move || {
            // Nobody waits any more if the answer is there.
            let _ = tell.send(());
        });
        self.driven()?.runtime.block_on(async {
            tokio::select! {
                biased;
                output = future => Ok(output),
                _ = told => Err(RequestError::Cancelled),
            }
        })
    }

    fn driven(&self) -> Result<&Driven, RequestError> {
        if let Some(driven) = self.runtime.get() {
            return Ok(driven);
        }
        let driven = Driven::new().map_err(|source| RequestError::Runtime { source })?;
        Ok(self.runtime.get_or_init(|| driven))
    }
}

/// A runtime, and the thread that drives it until this is dropped.
#[derive(Debug)]
struct Driven {
    runtime: Arc<Runtime>,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

impl Driven {
    fn new() -> io::Result<Self> {
        let runtime = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?);
        let (alive, end) = oneshot::channel();
        let driven = Arc::clone(&runtime);
        // Without the thread, connections move while somebody waits for an answer.
        let _ = thread::start("xbuild-net", move || drop(driven.block_on(end)));
        Ok(Self { runtime, _alive: alive })
    }
}
