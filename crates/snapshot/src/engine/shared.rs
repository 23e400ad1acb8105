//! What all handles of an engine share.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_layer::{LayerIndex, Tree};
use xbuild_model::seam::{Blobs, Namespace};
use xbuild_model::{DiffId, Digest, ImageLayer};
use xbuild_store::{Background, Store, TempFolder};

use super::joined::Parts;
use super::options::EngineOptions;
use super::packer::Packer;
use super::top::Top;
use super::turns::KeyedLocks;

/// What all handles share.
pub(super) struct Shared {
    /// The first to be dropped, both: they may still be at work in the store.
    pub(super) packer: Packer,
    pub(super) sweeper: Background<TempFolder>,
    pub(super) store: Arc<Store>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) namespace: Arc<dyn Namespace>,
    pub(super) options: EngineOptions,
    pub(super) known: Mutex<Known>,
    /// Held per layer while it is read or unpacked: whoever else needs it waits for the result.
    pub(super) busy: KeyedLocks<DiffId>,
    pub(super) parts: Parts,
}

/// What has been found out in this process.
#[derive(Default)]
pub(super) struct Known {
    /// Layers of resolved images.
    pub(super) remote: HashMap<DiffId, ImageLayer>,
    pub(super) indexes: HashMap<DiffId, Arc<LayerIndex>>,
    /// By the stack's chain ID.
    pub(super) trees: HashMap<Digest, Tree>,
    /// What the top layers of stacks add to an overlay mount, by chain ID; only what is there.
    pub(super) tops: HashMap<Digest, Top>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    /// Works with what is known. No caller panics while it holds the lock, so that what a
    /// poisoned lock protects is whole too.
    pub(super) fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
