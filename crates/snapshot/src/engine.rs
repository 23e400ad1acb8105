//! The layer engine: layers on demand, their trees and folders, and new layers from commands and
//! copies.
//!
//! A layer is in one or more of four states, each reached only when something needs it:
//!
//! | state | needed for |
//! | --- | --- |
//! | known: an image was resolved that has it | pushing it beside that image |
//! | indexed: its [`xbuild_layer::LayerIndex`] is in the store | COPY, ADD, WORKDIR on top of it |
//! | stored: its blob is in the store | copying from it, exporting it |
//! | unpacked: its folder is in the store | RUN on top of it, on an overlay mount |
//!
//! A layer that is pulled becomes indexed, stored and, where it is needed, unpacked in one pass
//! over its bytes.

mod branch;
mod branches;
mod cache_mount;
mod cached_layer;
mod carried;
mod changed;
mod clamped;
mod difference;
mod encoded;
mod exported;
mod fill;
mod folders;
mod held;
mod imported;
mod in_folder;
mod joined;
mod kept;
mod layers;
mod mount_files;
mod new_layer;
mod obtain;
mod options;
mod own_root;
mod owners;
mod packed_mount;
mod packer;
mod recalled;
mod root_folder;
mod scratch;
mod selection;
mod shared;
mod siblings;
mod spared;
#[cfg(test)]
mod tests;
mod top;
mod turns;
mod workspace;

use std::io::Read;
use std::sync::{Arc, Mutex};

use xbuild_files::copy::LayerSource;
use xbuild_layer::{Encoding, LayerIndex, LayerReader, Tree};
use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::rootfs::RootKind;
use xbuild_model::seam::{
    Blobs, CacheFolder, CacheRequest, MountFiles, Namespace, Selection, Snapshots, Workspace,
};
use xbuild_model::{BlobSource, Chain, DiffId, Digest, ImageLayer, LayerBlob, StepFailure};
use xbuild_store::Store;

use crate::remove;

pub use cached_layer::{CachedLayer, FetchIndex};
pub use exported::ExportedLayer;
pub use options::{EngineOptions, FindMount, OnWrong};
pub use packed_mount::{PackedMount, UsedMount};
use shared::Shared;
pub use siblings::Siblings;

/// The engine. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

impl Engine {
    /// Makes an engine on a store. Nothing is started before it is needed.
    pub fn new(
        store: Arc<Store>,
        blobs: Arc<dyn Blobs>,
        namespace: Arc<dyn Namespace>,
        options: EngineOptions,
    ) -> Self {
        let (known, mut options) = (Mutex::default(), options);
        let siblings = options.siblings.take();
        let Siblings { packer, busy } = siblings.unwrap_or_else(|| Siblings::new(&store));
        let (parts, folders) = (joined::Parts::default(), carried::Folders::default());
        let sweeper = remove::sweeper(Arc::clone(&namespace));
        Self(Arc::new(Shared {
            packer,
            sweeper,
            store,
            blobs,
            namespace,
            options,
            known,
            busy,
            parts,
            folders,
            own_root: own_root::OwnRoot::default(),
            branches: branches::Branches::default(),
        }))
    }

    /// Waits until all new layers are in the store. No more steps run, so their folders are left to
    /// the next build.
    ///
    /// **Errors** — the first failure.
    pub fn settle(&self) -> Result<(), StepFailure> {
        self.0.keep_folders();
        spared::settle(&self.0)?;
        let packed = self.0.known(|known| known.packed.clone());
        for layer in &packed {
            self.0.packer.wait(layer)?;
        }
        Ok(())
    }

    /// Returns the merged tree of a stack of layers. Layers without an index are read, and pulled
    /// for that.
    pub fn tree(&self, chain: &Chain) -> Result<Tree, StepFailure> {
        Ok(self.0.tree(chain)?)
    }

    /// Returns the index of a layer. Without one it is read, and pulled for that.
    pub fn index(&self, layer: &DiffId) -> Result<Arc<LayerIndex>, StepFailure> {
        Ok(self.0.index(layer)?)
    }

    /// Returns the place of a layer's blob.
    ///
    /// **Errors** — [`crate::EngineError::UnknownLayer`].
    pub fn blob(&self, layer: &DiffId) -> Result<LayerBlob, StepFailure> {
        Ok(self.0.blob(layer)?)
    }

    /// Pulls a layer into the store unless it is there.
    pub fn fetch(&self, layer: &DiffId) -> Result<(), StepFailure> {
        Ok(self.0.read_tar(layer).map(drop)?)
    }

    /// Reads the stored blobs of layers to their ends, so that a damaged one is found before
    /// anything was written that cannot be taken back.
    ///
    /// **Errors** — [`xbuild_store::StoreError::Damaged`].
    pub fn check(&self, layers: &Chain) -> Result<(), StepFailure> {
        for layer in &layers.0 {
            if let LayerBlob::Stored { descriptor, .. } = self.blob(layer)? {
                self.0.store.open_sound(&descriptor.digest)?;
            }
        }
        Ok(())
    }

    /// Returns the blobs of layers in an encoding, in the order of `layers`. Blobs that are not in
    /// the store are made now.
    ///
    /// Layers of base images keep their blobs unless `force` is set; then they are pulled as well.
    /// Layers that only a shared cache has stay where they are if they have the encoding and `stays`
    /// says so of their place; others are pulled.
    ///
    /// **Errors** — [`crate::EngineError`]. Blobs that are complete stay in the store.
    pub fn encoded(
        &self,
        layers: Vec<DiffId>,
        encoding: Encoding,
        force: bool,
        stays: &(dyn Fn(&BlobSource) -> bool + Sync),
    ) -> Result<Vec<LayerBlob>, StepFailure> {
        Ok(encoded::blobs(&self.0, layers, (encoding, force), stays)?)
    }

    /// Makes layers known that a shared cache has. What is in the store, or in a base image, counts
    /// more.
    pub fn add_cached(&self, layers: Vec<CachedLayer>) {
        self.0.known(|known| {
            for layer in layers {
                known.cached.entry(layer.layer.diff_id.clone()).or_insert(layer);
            }
        });
    }

    /// Makes it known that a shared cache has the tree index of a layer.
    pub fn add_index(&self, layer: DiffId, fetch: FetchIndex) {
        self.0.known(|known| {
            known.foreign.entry(layer).or_insert(fetch);
        });
    }

    /// Returns the blob of a layer for a shared cache: in an encoding, or whichever is at hand.
    pub fn exported(
        &self,
        layer: &DiffId,
        encoding: Option<Encoding>,
    ) -> Result<ExportedLayer, StepFailure> {
        Ok(exported::layer(&self.0, layer, encoding)?)
    }

    /// Returns the tree index of a layer if it was made from the bytes of the layer.
    pub fn checked_index(&self, layer: &DiffId) -> Result<Option<Arc<LayerIndex>>, StepFailure> {
        Ok(self.0.checked_index(layer)?)
    }

    /// Returns the tree index of a layer if it is known without reading the layer.
    pub fn known_index(&self, layer: &DiffId) -> Result<Option<Arc<LayerIndex>>, StepFailure> {
        Ok(self.0.known_index(layer)?)
    }

    /// Returns the cache folders that steps have used, sorted by key.
    pub fn used_mounts(&self) -> Vec<UsedMount> {
        let used = |(key, id): (&Digest, &String)| UsedMount { key: key.clone(), id: id.clone() };
        let mut mounts: Vec<UsedMount> =
            self.0.known(|known| known.mounts.iter().map(used).collect());
        mounts.sort_by(|a, b| a.key.cmp(&b.key));
        mounts
    }

    /// Packs a cache folder of at most `limit` bytes as a layer; `None` if a step of another build
    /// uses it, or if it is gone.
    pub fn pack_mount(
        &self,
        mount: &UsedMount,
        limit: u64,
    ) -> Result<Option<PackedMount>, StepFailure> {
        Ok(packed_mount::pack(&self.0, mount, limit)?)
    }

    /// Returns the layers whose files COPY, ADD and WORKDIR have looked at, sorted.
    pub fn looked_at(&self) -> Vec<DiffId> {
        let mut layers: Vec<DiffId> =
            self.0.known(|known| known.looked_at.iter().cloned().collect());
        layers.sort();
        layers
    }

    /// Returns layers, in order, whose times after `latest`, in seconds since 1970, are `latest`. A
    /// layer that is not in the store is made now, in an encoding; one without such times stays
    /// itself.
    ///
    /// **Errors** — [`crate::EngineError`]. Layers that are complete stay in the store.
    pub fn clamped(
        &self,
        layers: Vec<DiffId>,
        latest: u64,
        encoding: Encoding,
    ) -> Result<Vec<DiffId>, StepFailure> {
        Ok(clamped::layers(&self.0, layers, latest, encoding)?)
    }

    /// Opens a layer for reading, pulling it if its blob is not in the store.
    pub fn read_layer(
        &self,
        layer: &DiffId,
    ) -> Result<LayerReader<Box<dyn Read + Send>>, StepFailure> {
        Ok(self.0.read_layer(layer)?)
    }

    /// Returns the contents of the layers of a stack, for [`xbuild_files::flatten`].
    pub fn layer_source(&self, chain: &Chain) -> Arc<dyn LayerSource> {
        Arc::new(selection::Layers::new(Arc::clone(&self.0), chain.clone()))
    }
}

impl Snapshots for Engine {
    fn add_image(&self, layers: &[ImageLayer]) {
        self.0.known(|known| {
            for layer in layers {
                known.remote.entry(layer.diff_id.clone()).or_insert_with(|| layer.clone());
            }
        });
    }

    fn recall(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Option<Digest>, StepFailure> {
        Ok(recalled::content(&self.0, parent, op, origin)?)
    }

    fn selects_without_pulling(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<bool, StepFailure> {
        Ok(selection::is_indexed(&self.0, parent, op, origin)?)
    }

    fn select(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Box<dyn Selection>, StepFailure> {
        Ok(Box::new(selection::select(&self.0, parent, op, origin)?))
    }

    fn prepare(&self, parent: &Chain) -> Result<Box<dyn Workspace>, StepFailure> {
        Ok(match self.0.namespace.root_kind()? {
            RootKind::Overlay => Box::new(workspace::Writable::prepare(&self.0, parent)?),
            kind => {
                let is_own = kind == RootKind::Own;
                Box::new(in_folder::InFolder::prepare(&self.0, parent, is_own)?)
            }
        })
    }

    fn mount_files(
        &self,
        chain: &Chain,
        writable: bool,
    ) -> Result<Box<dyn MountFiles>, StepFailure> {
        Ok(mount_files::hold(&self.0, chain, writable)?)
    }

    fn cache_folder(
        &self,
        request: &CacheRequest<'_>,
    ) -> Result<Box<dyn CacheFolder>, StepFailure> {
        Ok(Box::new(cache_mount::hold(&self.0, request)?))
    }

    fn has_layer(&self, layer: &DiffId) -> bool {
        self.0.packer.is_pending(layer) || self.0.has_origin(layer)
    }
}
