//! Writing shared caches while steps run.
//!
//! A step is written when it is done. Nothing waits for that but the end of the build, and nothing
//! fails because of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_layer::Encoding;
use xbuild_model::{Digest, StepRecord};
use xbuild_plan::{Graph, VertexId};
use xbuild_snapshot::Engine;
use xbuild_store::Store;

use super::imports::Imports;
use super::target::{CacheTargets, Step};
use crate::build::Build;
use crate::request::CacheMode;
use crate::workers::Workers;

/// Steps that are written at once.
const AT_ONCE: usize = 8;

/// Writes the results of steps to shared caches.
pub(crate) struct CacheExports {
    pub(super) shared: Arc<Shared>,
    /// Those of images are urgent.
    workers: Workers<Job>,
    /// The key of each step.
    keys: Mutex<HashMap<VertexId, Digest>>,
}

pub(super) struct Shared {
    pub(super) targets: Arc<CacheTargets>,
    pub(super) engine: Engine,
    pub(super) store: Arc<Store>,
    imports: Arc<Imports>,
    /// The encoding of the image.
    encoding: Encoding,
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
        });
        // Without a thread everything is written at the end.
        let workers = Workers::start("cache", AT_ONCE, {
            let shared = Arc::clone(&shared);
            move |job| shared.write(&job)
        });
        Some(Self { shared, workers, keys: Mutex::default() })
    }

    /// Takes the result of a step.
    pub(crate) fn take(&self, graph: &Graph, id: VertexId, key: &Digest, result: &StepRecord) {
        let is_in_image = graph.vertex(id).is_in_output;
        // Nobody panics while holding the lock.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(id, key.clone());
        for (target, of) in self.shared.targets.0.iter().enumerate() {
            if of.mode == CacheMode::Min && !is_in_image {
                continue;
            }
            let (key, result) = (key.clone(), result.clone());
            // A push waits for the layers of its image.
            self.workers.queue().add(Job { target, key, result, is_in_image }, is_in_image);
        }
    }

    /// Waits until the layers of images are written, so that a push finds them.
    pub(crate) fn wait_for_images(&self) {
        self.workers.wait_for_urgent();
    }

    /// Waits until everything is written. Returns the key of each step.
    pub(crate) fn finish(&mut self) -> HashMap<VertexId, Digest> {
        self.workers.finish();
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Writes a step.
    fn write(&self, job: &Job) {
        let of_image = job.is_in_image.then_some(self.encoding);
        let step = Step { key: &job.key, result: &job.result, of_image };
        self.targets.0[job.target].save(&step, &self.imports, &self.engine, &self.store);
    }
}
