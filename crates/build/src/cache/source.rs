//! One cache that is read.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_cache::{
    CacheDocumentError, CacheTag, MAX_INDEX, MAX_TRAIL, Mount, Policy, Record, Scope, Trail,
    TrailId, TrailManifest, is_of_buildkit, unpack_index,
};
use xbuild_layer::LayerIndex;
use xbuild_model::{Descriptor, Digest};
use xbuild_registry::{Client, RequestError};

use super::keys;
use super::place::Place;
use super::warning::CacheWarning;
use crate::error::{CacheError, CacheOpenError};
use crate::events::{Event, Events, Warning};
use crate::request::CacheFrom;
use crate::transfers::told;

/// Reasons that are told. A cache may have thousands of bad documents.
const MAX_TOLD: usize = 5;

/// Requests that may fail in a row, for whatever reason.
const MAX_FAILURES: usize = 3;

/// A cache that is read. It turns itself off when it cannot be read.
pub(super) struct Source {
    pub(super) place: Place,
    pub(super) scope: Scope,
    pub(super) policy: Policy,
    is_off: AtomicBool,
    /// Whether it was found not to give the layers that it names.
    has_no_layers: AtomicBool,
    /// Requests that have failed in a row.
    failures: AtomicUsize,
    /// The reasons for which documents were refused, each told once.
    told: Mutex<HashSet<String>>,
    events: Arc<dyn Events>,
}

impl Source {
    pub(super) fn new(
        client: &Client,
        request: &CacheFrom,
        events: &Arc<dyn Events>,
    ) -> Result<Self, CacheOpenError> {
        let place = Place::new(client, &request.place);
        let cache = place.to_string();
        let scope = keys::scope(&cache, &request.scope)?;
        let policy = keys::policy(&cache, &request.keys)?;
        let events = Arc::clone(events);
        let (is_off, has_no_layers) = (AtomicBool::new(false), AtomicBool::new(false));
        let (failures, told) = (AtomicUsize::new(0), Mutex::default());
        Ok(Self { place, scope, policy, is_off, has_no_layers, failures, told, events })
    }

    /// Returns whether only signed documents count.
    pub(super) fn is_verified(&self) -> bool {
        matches!(self.policy, Policy::Signed(_))
    }

    /// Returns the record of a step.
    pub(super) fn record(&self, key: &Digest) -> Option<Record> {
        let tag = CacheTag::of_record(&self.scope, key);
        let bytes = self.manifest(&tag.to_string())?;
        let read = Record::read(&bytes, &self.scope, key, &self.policy);
        read.map_err(|error| self.refuse("a step", &error)).ok()
    }

    /// Returns the trail of a build. One that another writer has just replaced may be gone.
    pub(super) fn trail(&self, id: &TrailId) -> Option<Trail> {
        let tag = CacheTag::of_trail(&self.scope, id);
        let bytes = self.manifest(&tag.to_string())?;
        let read = TrailManifest::read(&bytes, &self.scope, id, &self.policy);
        let manifest = read.map_err(|error| self.refuse("a build", &error)).ok()?;
        let blob = self.place.blob(&manifest.blob, MAX_TRAIL, Some(told(&self.events)));
        let blob = self.answered(blob)?;
        let trail = Trail::read(&manifest, &blob);
        trail.map_err(|error| self.refuse("a build", &error)).ok()
    }

    /// Returns the files of a cache mount.
    pub(super) fn mount(&self, key: &Digest) -> Option<Mount> {
        let tag = CacheTag::of_mount(&self.scope, key);
        let bytes = self.manifest(&tag.to_string())?;
        let read = Mount::read(&bytes, &self.scope, key, &self.policy);
        read.map_err(|error| self.refuse("a cache mount", &error)).ok()
    }

    /// Returns the tree index that a blob holds.
    pub(super) fn index(&self, blob: &Descriptor) -> Option<LayerIndex> {
        if self.is_off.load(Ordering::Relaxed) {
            return None;
        }
        let bytes = self.place.blob(blob, MAX_INDEX, Some(told(&self.events)));
        let bytes = self.answered(bytes)?;
        unpack_index(&bytes).map_err(|error| self.refuse("a layer", &error)).ok()
    }

    /// Tells if another builder's cache is in the place of this one.
    pub(super) fn look_for_others(&self) {
        let bytes = self.manifest(self.place.tag_of_others());
        if bytes.is_some_and(|bytes| is_of_buildkit(&bytes)) {
            self.tell(CacheWarning::OfBuildKit { cache: self.place.to_string() });
        }
    }

    fn manifest(&self, tag: &str) -> Option<bytes::Bytes> {
        if self.is_off.load(Ordering::Relaxed) {
            return None;
        }
        self.answered(self.place.manifest(tag)).flatten()
    }

    /// Returns the answer to a request, if there is one.
    fn answered<T>(&self, answer: Result<T, CacheError>) -> Option<T> {
        if answer.is_ok() {
            self.failures.store(0, Ordering::Relaxed);
        }
        answer.map_err(|error| self.fail(&error)).ok()
    }

    /// Turns the cache off if the next request would fail as well, or many have failed.
    fn fail(&self, error: &CacheError) {
        // The build ends, or begins again without the step that failed.
        if error.is_cancelled() {
            return;
        }
        let is_layout = matches!(error, CacheError::Layout(_));
        let are_many = self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_FAILURES;
        if error.is_lasting() || is_layout || are_many {
            return self.turn_off(error.is_limit(), error.text());
        }
        let (cache, reason) = (self.place.to_string(), error.text());
        self.tell_once(reason.clone(), CacheWarning::Skipped { cache, reason });
    }

    fn turn_off(&self, is_limit: bool, reason: String) {
        if self.is_off.swap(true, Ordering::Relaxed) {
            return;
        }
        let cache = self.place.to_string();
        self.tell(match is_limit {
            true => CacheWarning::Limited { cache },
            false => CacheWarning::Unread { cache, reason },
        });
    }

    /// Notes that a layer cannot be had, though nothing says that it is gone.
    pub(super) fn lose_layers(&self, error: &RequestError) {
        self.has_no_layers.store(true, Ordering::Relaxed);
        self.turn_off(error.status() == Some(429), CacheError::text_of(error));
    }

    /// Returns whether the layers that it names can be had, as far as that is known.
    pub(super) fn has_layers(&self) -> bool {
        !self.has_no_layers.load(Ordering::Relaxed)
    }

    fn refuse(&self, what: &str, error: &CacheDocumentError) {
        let reason = CacheError::text_of(error);
        let (cache, what) = (self.place.to_string(), what.to_owned());
        self.tell_once(reason.clone(), CacheWarning::Refused { cache, what, reason });
    }

    fn tell_once(&self, reason: String, warning: CacheWarning) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(reason) {
            self.tell(warning);
        }
    }

    fn tell(&self, warning: CacheWarning) {
        self.events.event(Event::Warning(&Warning::Cache(warning)));
    }
}
