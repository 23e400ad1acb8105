//! All caches that a build reads, and what they have said so far.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use xbuild_cache::{Record, Scope, Trail, TrailId, TrailIndex};
use xbuild_image::parallel;
use xbuild_layer::LayerIndex;
use xbuild_model::{DiffId, Digest, ImageLayer};
use xbuild_registry::{Client, RequestError};
use xbuild_snapshot::{CachedLayer, Engine, EngineError, FetchIndex};
use xbuild_store::Store;

use super::source::Source;
use super::warning::CacheWarning;
use crate::error::CacheOpenError;
use crate::events::{Event, Events, Warning};
use crate::request::CacheFrom;

/// Requests that are made at once.
const AT_ONCE: usize = 8;

/// A result that a shared cache has.
#[derive(Debug, Clone)]
pub(super) struct Imported {
    pub(super) record: Record,
    /// The number of the cache.
    pub(super) source: usize,
}

/// The caches that a build reads.
pub(crate) struct Imports {
    sources: Vec<Arc<Source>>,
    store: Arc<Store>,
    events: Arc<dyn Events>,
    trails: Once,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Key -> the answer of the caches.
    found: HashMap<Digest, Option<Imported>>,
    indexes: HashMap<DiffId, FetchIndex>,
    /// The blobs of layers that were found.
    blobs: HashSet<Digest>,
    /// Layers about which a cache was wrong.
    wrong: HashSet<DiffId>,
    /// Whether there are new ones.
    is_news: bool,
}

impl Imports {
    pub(crate) fn new(
        requests: &[CacheFrom],
        client: &Client,
        store: &Arc<Store>,
        events: &Arc<dyn Events>,
    ) -> Result<Arc<Self>, CacheOpenError> {
        let client = client.hasty();
        let source = |request| Source::new(&client, request, events).map(Arc::new);
        let sources = requests.iter().map(source).collect::<Result<_, _>>()?;
        let (store, events) = (Arc::clone(store), Arc::clone(events));
        Ok(Arc::new(Self { sources, store, events, trails: Once::new(), state: Mutex::default() }))
    }

    /// Reads the trails of the builds `ids` in all caches, the first time that it is called. The
    /// documents of base images in them go to the store, where pulls look for them.
    pub(crate) fn read_trails(&self, ids: &[TrailId]) {
        self.trails.call_once(|| {
            let all = (0..self.sources.len()).flat_map(|at| ids.iter().map(move |id| (at, id)));
            let all: Vec<(usize, &TrailId)> = all.collect();
            let read: Vec<OnceLock<Trail>> = all.iter().map(|_| OnceLock::new()).collect();
            let places: Vec<usize> = (0..all.len()).collect();
            let done: Result<(), ()> = parallel::for_each(AT_ONCE, &places, |place| {
                let (at, id) = all[*place];
                if let Some(trail) = self.sources[at].trail(id) {
                    // Nobody else fills this place.
                    let _ = read[*place].set(trail);
                }
                Ok(())
            });
            debug_assert!(done.is_ok());
            for (at, source) in self.sources.iter().enumerate() {
                let own = all.iter().zip(&read).filter(|((of, _), _)| *of == at);
                let trails: Vec<&Trail> = own.filter_map(|(_, trail)| trail.get()).collect();
                if trails.is_empty() {
                    source.look_for_others();
                }
                trails.into_iter().for_each(|trail| self.take(at, trail));
            }
        });
    }

    /// Takes what a trail says. What an earlier cache said counts more.
    fn take(&self, at: usize, trail: &Trail) {
        for document in &trail.documents {
            // A failure costs only a request.
            let _ = self.store.put_blob(document);
        }
        let mut state = self.lock();
        for record in &trail.records {
            let imported = Imported { record: record.clone(), source: at };
            state.found.entry(record.key.clone()).or_insert(Some(imported));
        }
        for (layer, index) in &trail.indexes {
            let fetch: FetchIndex = match index {
                TrailIndex::Here(index) => {
                    let index = index.clone();
                    Arc::new(move || Some(index.clone()))
                }
                TrailIndex::Beside(blob) => self.fetch(at, blob),
            };
            state.indexes.entry(layer.clone()).or_insert(fetch);
        }
    }

    /// Returns a function that fetches a tree index, once.
    fn fetch(&self, at: usize, blob: &xbuild_model::Descriptor) -> FetchIndex {
        let (source, blob) = (Arc::clone(&self.sources[at]), blob.clone());
        let fetched: OnceLock<Option<LayerIndex>> = OnceLock::new();
        Arc::new(move || fetched.get_or_init(|| source.index(&blob)).clone())
    }

    /// Makes the tree indexes of trails known to an engine.
    pub(crate) fn register(&self, engine: &Engine) {
        let state = self.lock();
        for (layer, fetch) in &state.indexes {
            if !state.wrong.contains(layer) {
                engine.add_index(layer.clone(), Arc::clone(fetch));
            }
        }
    }

    /// Returns the result of a step, and makes its layers known to `engine`.
    pub(super) fn find(&self, key: &Digest, engine: &Engine) -> Option<Record> {
        let imported = self.imported(key).or_else(|| self.ask(key))?;
        let Imported { record, source } = imported;
        let place = self.sources[source].place.blobs();
        let blobs = record.layers.iter().map(|layer| layer.blob.digest.clone());
        self.lock().blobs.extend(blobs);
        for layer in &record.layers {
            let Some(index) = &layer.index else { continue };
            engine.add_index(layer.diff_id.clone(), self.fetch(source, index));
        }
        let layers = record.layers.iter().map(|layer| CachedLayer {
            layer: ImageLayer {
                diff_id: layer.diff_id.clone(),
                descriptor: layer.blob.clone(),
                source: place.clone(),
            },
            encoding: layer.encoding.clone(),
        });
        engine.add_cached(layers.collect());
        Some(record)
    }

    /// Returns what is known of a step, without a request.
    pub(super) fn imported(&self, key: &Digest) -> Option<Imported> {
        let state = self.lock();
        let imported = state.found.get(key)?.clone()?;
        let is_wrong = imported.record.layers.iter().any(|l| state.wrong.contains(&l.diff_id));
        (!is_wrong && self.sources[imported.source].has_layers()).then_some(imported)
    }

    /// Asks one cache after the other, once for each step.
    fn ask(&self, key: &Digest) -> Option<Imported> {
        if self.sources.is_empty() || self.lock().found.contains_key(key) {
            return None;
        }
        let ask = |(source, of): (usize, &Arc<Source>)| {
            Some(Imported { record: of.record(key)?, source })
        };
        let found = self.sources.iter().enumerate().find_map(ask);
        self.lock().found.insert(key.clone(), found);
        self.imported(key)
    }

    /// Returns the scope and the place of a cache, for one that is written, and whether only signed
    /// documents of it count.
    pub(super) fn origin(&self, imported: &Imported) -> (&Scope, String, bool) {
        let source = &self.sources[imported.source];
        (&source.scope, source.place.to_string(), source.is_verified())
    }

    /// Notes that what the caches say about a layer is wrong, or that it cannot be had. A cache that does
    /// not give its layers is not asked for another one.
    pub(crate) fn note_wrong(&self, layer: &DiffId, error: &EngineError) {
        let mut state = self.lock();
        if !state.wrong.insert(layer.clone()) {
            return;
        }
        state.is_news = true;
        let named = |found: &&Imported| found.record.layers.iter().any(|l| l.diff_id == *layer);
        let source = state.found.values().flatten().find(named).map(|found| found.source);
        drop(state);
        let failure = RequestError::within(error);
        match (failure.filter(|failure| !matches!(failure.status(), Some(404 | 410))), source) {
            (Some(failure), Some(source)) => self.sources[source].lose_layers(failure),
            _ => {
                let warning = CacheWarning::Wrong { layer: layer.clone() };
                self.events.event(Event::Warning(&Warning::Cache(warning)));
            }
        }
    }

    /// Returns whether a blob is that of a layer that a cache has.
    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.lock().blobs.contains(digest)
    }

    /// Returns whether something wrong was found since the last call. The stages are repeated then.
    pub(crate) fn take_news(&self) -> bool {
        std::mem::take(&mut self.lock().is_news)
    }

    /// Returns whether there is a cache to read.
    pub(crate) fn are_none(&self) -> bool {
        self.sources.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
