//! One cache that is written.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use xbuild_cache::{CacheTag, PackedIndex, Policy, Record, RecordLayer, Scope, Signer};
use xbuild_layer::Encoding;
use xbuild_model::{Cancel, Descriptor, Digest, ImageLayer, StepRecord};
use xbuild_registry::Client;
use xbuild_snapshot::{CachedLayer, Engine};
use xbuild_store::Store;

use super::imports::{Imported, Imports};
use super::keys;
use super::place::{Outgoing, Place};
use super::warning::CacheWarning;
use crate::error::{CacheError, CacheOpenError};
use crate::events::{Event, Events, Warning};
use crate::request::{CacheMode, CacheTo};
use crate::transfers::told;

/// The caches that a build writes.
pub(crate) struct CacheTargets(pub(super) Vec<Target>);

impl CacheTargets {
    /// Opens caches. They have a client of their own: a build that fails still leaves behind what it
    /// has made.
    pub(crate) fn open(
        requests: &[CacheTo],
        client: &Client,
        events: &Arc<dyn Events>,
    ) -> Result<Arc<Self>, CacheOpenError> {
        let client = client.hasty().apart(Cancel::default(), 1);
        let targets = requests.iter().map(|request| Target::new(&client, request, events));
        Ok(Arc::new(Self(targets.collect::<Result<_, _>>()?)))
    }
}

/// A cache that is written. It turns itself off when it cannot be written.
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) scope: Scope,
    pub(super) mode: CacheMode,
    pub(super) signer: Option<Signer>,
    encoding: Option<Encoding>,
    state: Mutex<State>,
    events: Arc<dyn Events>,
}

#[derive(Default)]
struct State {
    /// The records that are there, by key.
    there: BTreeMap<Digest, Record>,
    /// Documents that go to a layout at the end.
    waiting: Vec<Outgoing>,
    /// How many of the records are new.
    new: usize,
    /// The steps that are not there, and the reason of the first.
    failed: usize,
    reason: Option<String>,
    not_signed: usize,
    is_off: bool,
}

/// A step that was found or made.
pub(super) struct Step<'a> {
    pub(super) key: &'a Digest,
    pub(super) result: &'a StepRecord,
    /// The encoding that an image has the layers in, if one has them.
    pub(super) of_image: Option<Encoding>,
}

impl Target {
    pub(super) fn new(
        client: &Client,
        request: &CacheTo,
        events: &Arc<dyn Events>,
    ) -> Result<Self, CacheOpenError> {
        let place = Place::new(client, &request.place);
        let cache = place.to_string();
        let scope = keys::scope(&cache, &request.scope)?;
        let signer = request.key.as_deref().map(|file| keys::signer(&cache, file)).transpose()?;
        let (mode, encoding) = (request.mode, request.encoding);
        let (state, events) = (Mutex::default(), Arc::clone(events));
        Ok(Self { place, scope, mode, signer, encoding, state, events })
    }

    /// Writes the record of a step unless it is there.
    pub(super) fn save(&self, step: &Step<'_>, imports: &Imports, engine: &Engine, store: &Store) {
        // Registries refuse an image without layers.
        if step.result.added.0.is_empty() {
            return;
        }
        let mut state = self.lock();
        if state.is_off {
            state.failed += 1;
            return;
        }
        drop(state);
        let imported = imports
            .imported(step.key)
            .filter(|imported| imported.record.step().added == step.result.added);
        let origin = imported.as_ref().map(|imported| imports.origin(imported));
        if let Some((scope, place, is_verified)) = &origin {
            if self.signer.is_some() && !is_verified {
                self.lock().not_signed += 1;
                return;
            }
            if (*scope, place) == (&self.scope, &self.place.to_string())
                && let Some(Imported { record, .. }) = imported
            {
                self.lock().there.insert(step.key.clone(), record);
                return;
            }
        }
        let saved = match self.existing(step) {
            Ok(Some(record)) => Ok((record, false)),
            Ok(None) => self.write(step, engine, store).map(|record| (record, true)),
            Err(error) => Err(error),
        };
        match saved {
            Ok((record, is_new)) => {
                let mut state = self.lock();
                state.new += usize::from(is_new);
                state.there.insert(step.key.clone(), record);
            }
            Err(error) => self.fail(&error),
        }
    }

    /// Returns the record of a step that is there with the same result. Only this build's own
    /// signature counts.
    fn existing(&self, step: &Step<'_>) -> Result<Option<Record>, CacheError> {
        let tag = CacheTag::of_record(&self.scope, step.key).to_string();
        let Some(bytes) = self.place.manifest(&tag)? else { return Ok(None) };
        let policy = match &self.signer {
            Some(signer) => Policy::Signed(vec![signer.public()]),
            None => Policy::Any,
        };
        let record = Record::read(&bytes, &self.scope, step.key, &policy).ok();
        Ok(record.filter(|record| record.step().added == step.result.added))
    }

    fn write(&self, step: &Step<'_>, engine: &Engine, store: &Store) -> Result<Record, CacheError> {
        let (mut layers, mut blobs, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        for diff_id in &step.result.added.0 {
            let made = engine.exported(diff_id, self.encoding.or(step.of_image))?;
            let index = engine.checked_index(diff_id)?;
            let index = index.map(|index| PackedIndex::new(&index)).transpose()?;
            let blob = made.blob.descriptor();
            let blob = Descriptor::new(&blob.media_type, blob.digest.clone(), blob.size);
            layers.push(RecordLayer {
                diff_id: diff_id.clone(),
                blob,
                encoding: made.encoding,
                index: index.as_ref().map(|index| index.blob.clone()),
            });
            blobs.push(made.blob);
            indexes.push(index);
        }
        let record = Record {
            key: step.key.clone(),
            created: step.result.created.clone(),
            description: xbuild_model::short_label(&step.result.description),
            layers,
        };
        let now = SystemTime::now();
        let document = record.document(&self.scope, &indexes, self.signer.as_ref(), now);
        let tag = CacheTag::of_record(&self.scope, step.key).to_string();
        self.put(store, Outgoing { tag, document, layers: blobs })?;
        self.tell_engine(&record, engine);
        Ok(record)
    }

    /// Makes it known that the layers of a record are in this place by now: an image that is pushed to
    /// the same registry need not be sent them again.
    fn tell_engine(&self, record: &Record, engine: &Engine) {
        if matches!(self.place, Place::Layout { .. }) {
            return;
        }
        let layers = record.layers.iter().map(|layer| CachedLayer {
            layer: ImageLayer {
                diff_id: layer.diff_id.clone(),
                descriptor: layer.blob.clone(),
                source: self.place.blobs(),
            },
            encoding: layer.encoding.clone(),
        });
        engine.add_cached(layers.collect());
    }

    /// Writes a document now, or with the others at the end.
    pub(super) fn put(&self, store: &Store, document: Outgoing) -> Result<(), CacheError> {
        match &self.place {
            Place::Registry { .. } => self.place.put(store, &[document], &told(&self.events)),
            Place::Layout { .. } => {
                self.lock().waiting.push(document);
                Ok(())
            }
        }
    }

    /// Writes the documents that wait.
    pub(super) fn flush(&self, store: &Store) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        if !waiting.is_empty()
            && let Err(error) = self.place.put(store, &waiting, &told(&self.events))
        {
            let mut state = self.lock();
            state.failed += state.new.max(1);
            state.new = 0;
            state.reason.get_or_insert_with(|| error.text());
        }
    }

    /// Counts a failure, and turns the cache off if the next request would fail as well.
    pub(super) fn fail(&self, error: &CacheError) {
        let mut state = self.lock();
        // Another writer of the same step was faster, and the registry keeps its tag.
        if is_fixed(error) {
            return;
        }
        state.failed += 1;
        if error.is_limit() && !state.is_off {
            state.is_off = true;
            drop(state);
            self.tell(CacheWarning::Limited { cache: self.place.to_string() });
            return;
        }
        state.is_off |= error.is_lasting();
        state.reason.get_or_insert_with(|| error.text());
    }

    /// Returns the records that are there, and the number of those that are new. Tells what went
    /// wrong.
    pub(super) fn finish(&self) -> (BTreeMap<Digest, Record>, usize) {
        let mut state = self.lock();
        let (steps, reason, not_signed) = (state.failed, state.reason.take(), state.not_signed);
        let there = (state.there.clone(), state.new);
        drop(state);
        let cache = self.place.to_string();
        if let Some(reason) = reason {
            self.tell(CacheWarning::Unwritten { cache: cache.clone(), steps, reason });
        }
        if not_signed > 0 {
            self.tell(CacheWarning::NotSigned { cache, steps: not_signed });
        }
        there
    }

    /// Returns whether the cache is written no more.
    pub(super) fn is_off(&self) -> bool {
        self.lock().is_off
    }

    pub(super) fn tell(&self, warning: CacheWarning) {
        self.events.event(Event::Warning(&Warning::Cache(warning)));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No thread panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether the registry does not let a tag be given again.
pub(super) fn is_fixed(error: &CacheError) -> bool {
    matches!(error, CacheError::Push(xbuild_registry::PushError::ImmutableTag { .. }))
}
