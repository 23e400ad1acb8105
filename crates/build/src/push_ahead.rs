//! Pushing layers while the build goes on.
//!
//! A layer that was written while this one had nothing to do is sent as a whole; a large one is sent
//! while it is written. What does not get there this way the push at the end sends.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tracing::Span;
use xbuild_model::{Descriptor, Reference};
use xbuild_registry::Client;
use xbuild_store::GrowingBlob;

use crate::build::Build;
use crate::tools::BlobSink;

/// Bytes of a blob from which on it is not waited for: then it is sent although nobody knows yet
/// whether the registry has it.
const LARGE: u64 = 4 << 20;

/// Layers under way at a time. They share the connection with what is pulled.
const AT_ONCE: usize = 2;

/// Layers that wait for their turn. Each is an open file, of which a process has a thousand.
const WAITING: usize = 64;

/// Sends layers to a repository. Those of a build that fails in the end are of no image: registries
/// remove such blobs.
#[derive(Debug)]
pub(crate) struct PushAhead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    target: Reference,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<GrowingBlob>,
    is_over: bool,
}

impl PushAhead {
    /// Makes one that sends to the repository of the first name of a build; `None` if nothing is
    /// pushed.
    pub(crate) fn of(build: &Build) -> Option<Self> {
        // The main form is the one that the engine makes.
        let target = build.variants[0].names.first();
        target.filter(|_| build.request.is_pushed()).map(|target| Self::new(&build.client, target))
    }

    fn new(client: &Client, target: &Reference) -> Self {
        let (client, target) = (client.clone(), target.clone());
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { client, target, state, changed });
        let start = |_| {
            let (shared, span) = (Arc::clone(&shared), Span::current());
            let work = move || span.in_scope(|| shared.work());
            thread::Builder::new().name("push-ahead".to_owned()).spawn(work).ok()
        };
        // Without threads there is nothing to be had from this.
        let threads = (0..AT_ONCE).map_while(start).collect();
        Self { shared, threads }
    }

    /// Returns what takes blobs to send.
    pub(crate) fn sink(&self) -> BlobSink {
        let shared = Arc::clone(&self.shared);
        Arc::new(move |blob| {
            let mut state = shared.lock();
            // What does not fit in is left to the push.
            if state.waiting.len() < WAITING && !state.is_over {
                state.waiting.push_back(blob);
            }
            shared.changed.notify_one();
        })
    }

    /// Waits for what is under way; what has not begun is left to the push.
    pub(crate) fn finish(self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
        for thread in self.threads {
            // If it panicked, that was printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && !state.is_over;
            let state = self.changed.wait_while(self.lock(), idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let blob = state.waiting.pop_front().filter(|_| !state.is_over);
            drop(state);
            let Some(blob) = blob else { return };
            // One that was given up is none, and what is not there the push sends.
            let _ = self.send(blob);
        }
    }

    /// Sends a blob when it is complete or large; returns whether it is there then.
    ///
    /// **Errors** — if it was given up.
    fn send(&self, blob: GrowingBlob) -> io::Result<bool> {
        match blob.wait_for(LARGE)? {
            Some((digest, size)) => {
                // Neither media type nor annotations are sent with a blob.
                let descriptor = Descriptor::new("application/octet-stream", digest, size);
                Ok(self.client.push_blob(&self.target, &descriptor, &blob.into_file()))
            }
            None => {
                let end = blob.again()?;
                let digest = || end.wait_for(u64::MAX).ok().flatten().map(|(digest, _)| digest);
                Ok(self.client.push_stream(&self.target, Box::new(blob), &digest))
            }
        }
    }
}
