//! Writing shared caches while steps run.
//!
//! A step is written when it is done. Nothing waits for that but the end of the build, and nothing
//! fails because of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tracing::Span;
use xbuild_layer::Encoding;
use xbuild_model::{Digest, StepRecord, thread};
use xbuild_plan::{Graph, VertexId};
use xbuild_snapshot::Engine;
use xbuild_store::Store;

use super::imports::Imports;
use super::target::{CacheTargets, Step};
use crate::build::Build;
use crate::request::CacheMode;

/// Steps that are written at once.
const AT_ONCE: usize = 8;

/// Writes the results of steps to shared caches.
pub(crate) struct CacheExports {
    pub(super) shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

pub(super) struct Shared {
    pub(super) targets: Arc<CacheTargets>,
    pub(super) engine: Engine,
    pub(super) store: Arc<Store>,
    imports: Arc<Imports>,
    /// The encoding of the image.
    encoding: Encoding,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Steps of images that wait or are being written.
    of_images: usize,
    is_over: bool,
    /// The key of each step.
    keys: HashMap<VertexId, Digest>,
}

struct Job {
    target: usize,
    key: Digest,
    result: StepRecord,
    is_in_image: bool,
}

impl CacheExports {
    /// Starts to write the caches of a build; `None` if there are none.
    pub(crate) fn of(build: &Build, engine: &Engine) -> Option<Self> {
        if build.cache_targets.0.is_empty() {
            return None;
        }
        let shared = Arc::new(Shared {
            targets: Arc::clone(&build.cache_targets),
            engine: engine.clone(),
            store: Arc::clone(&build.store),
            imports: Arc::clone(&build.imports),
            encoding: build.variants[0].layers.encoding,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let start = |_| {
            let (shared, span) = (Arc::clone(&shared), Span::current());
            thread::start("cache", move || span.in_scope(|| shared.work())).ok()
        };
        // Without a thread everything is written at the end.
        let threads = (0..AT_ONCE).map_while(start).collect();
        Some(Self { shared, threads })
    }

    /// Takes the result of a step.
    pub(crate) fn take(&self, graph: &Graph, id: VertexId, key: &Digest, result: &StepRecord) {
        let is_in_image = graph.vertex(id).is_in_output;
        let mut state = self.shared.lock();
        state.keys.insert(id, key.clone());
        for (target, of) in self.shared.targets.0.iter().enumerate() {
            if of.mode == CacheMode::Min && !is_in_image {
                continue;
            }
            let (key, result) = (key.clone(), result.clone());
            let job = Job { target, key, result, is_in_image };
            // A push waits for the layers of its image.
            match is_in_image {
                true => state.waiting.push_front(job),
                false => state.waiting.push_back(job),
            }
            state.of_images += usize::from(is_in_image);
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Waits until the layers of images are written, so that a push finds them.
    pub(crate) fn wait_for_images(&self) {
        if self.threads.is_empty() {
            return;
        }
        let busy = |state: &mut State| state.of_images > 0;
        drop(self.shared.changed.wait_while(self.shared.lock(), busy));
    }

    /// Waits until everything is written. Returns the key of each step.
    pub(crate) fn finish(&mut self) -> HashMap<VertexId, Digest> {
        self.end();
        for thread in self.threads.drain(..) {
            // A panic was printed already.
            let _ = thread.join();
        }
        self.shared.work();
        std::mem::take(&mut self.shared.lock().keys)
    }

    fn end(&self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_all();
    }
}

impl Drop for CacheExports {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes steps until no more come.
    fn work(&self) {
        loop {
            let idle = |state: &mut State| state.waiting.is_empty() && !state.is_over;
            let state = self.changed.wait_while(self.lock(), idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let Some(job) = state.waiting.pop_front() else { return };
            drop(state);
            let of_image = job.is_in_image.then_some(self.encoding);
            let step = Step { key: &job.key, result: &job.result, of_image };
            let target = &self.targets.0[job.target];
            target.save(&step, &self.imports, &self.engine, &self.store);
            self.lock().of_images -= usize::from(job.is_in_image);
            self.changed.notify_all();
        }
    }
}
