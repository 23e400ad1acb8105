//! The state that all handles of an engine share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_layer::{LayerIndex, Tree};
use xbuild_model::seam::{Blobs, Namespace};
use xbuild_model::{Chain, DiffId, Digest, ImageLayer};
use xbuild_store::{Background, Store, TempFolder};

use super::branches::Branches;
use super::cached_layer::{CachedLayer, FetchIndex};
use super::carried::Folders;
use super::joined::Parts;
use super::options::EngineOptions;
use super::own_root::OwnRoot;
use super::packer::Packer;
use super::top::Top;
use super::turns::KeyedLocks;

/// The state that all handles of an engine share.
pub(super) struct Shared {
    /// These two are dropped first: they may still be working in the store.
    pub(super) packer: Arc<Packer>,
    pub(super) sweeper: Background<TempFolder>,
    pub(super) store: Arc<Store>,
    pub(super) blobs: Arc<dyn Blobs>,
    pub(super) namespace: Arc<dyn Namespace>,
    pub(super) options: EngineOptions,
    pub(super) known: Mutex<Known>,
    /// A layer is locked while it is read or unpacked. Others that need it wait for the result.
    pub(super) busy: Arc<KeyedLocks<DiffId>>,
    pub(super) parts: Parts,
    pub(super) folders: Folders,
    pub(super) own_root: OwnRoot,
    pub(super) branches: Branches,
}

/// The facts that this process has found out.
#[derive(Default)]
pub(super) struct Known {
    /// Layers of resolved images.
    pub(super) remote: HashMap<DiffId, ImageLayer>,
    /// Layers whose blobs a shared cache has.
    pub(super) cached: HashMap<DiffId, CachedLayer>,
    /// Indexes that come from the bytes of their layers.
    pub(super) indexes: HashMap<DiffId, Arc<LayerIndex>>,
    /// The tree indexes that a shared cache has.
    pub(super) foreign: HashMap<DiffId, FetchIndex>,
    /// Those of them that were used and not yet compared with their layers.
    pub(super) unchecked: HashMap<DiffId, Arc<LayerIndex>>,
    /// New layers that the packer got.
    pub(super) packed: Vec<DiffId>,
    /// The cache folders that steps have used: key and name.
    pub(super) mounts: HashMap<Digest, String>,
    /// The layers whose files COPY, ADD and WORKDIR have looked at.
    pub(super) looked_at: HashSet<DiffId>,
    /// The trees of stacks, by chain ID.
    pub(super) trees: HashMap<Digest, Tree>,
    /// The additions of top layers to overlay mounts, by the chain ID of the stack. Only existing
    /// folders count.
    pub(super) tops: HashMap<Digest, Top>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.keep_folders();
    }
}

impl Shared {
    /// Leaves the folders of steps to the next build.
    pub(super) fn keep_folders(&self) {
        let map = self.namespace.map_name().ok();
        let layer = |layer: &DiffId| {
            let known = self.known(|known| known.indexes.get(layer).cloned());
            // Only the running total of the store depends on it.
            known.map_or(0, |index| index.unpacked_size())
        };
        let size = |chain: &Chain| chain.0.iter().map(layer).sum();
        self.folders.keep((&self.store, &self.sweeper), map.as_deref(), &size);
    }

    /// Works with the known facts. No caller panics while it holds the lock, so the facts of a
    /// poisoned lock are complete.
    pub(super) fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
