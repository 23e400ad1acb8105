//! The layer engine: layers on demand, their trees and folders, and new layers from commands and
//! copies.
//!
//! A layer is in one or more of four states, each reached only when something needs it:
//!
//! | state | needed for |
//! | --- | --- |
//! | known: an image was resolved that has it | pushing it beside that image |
//! | indexed: its [`LayerIndex`] is in the store | COPY, ADD, WORKDIR on top of it |
//! | stored: its blob is in the store | copying from it, exporting it |
//! | unpacked: its folder is in the store | RUN on top of it |
//!
//! A layer that is pulled becomes indexed, stored and, where it is needed, unpacked in one pass
//! over its bytes.

mod cache_mount;
mod encoded;
mod folders;
mod joined;
mod layers;
mod owners;
mod packer;
mod recalled;
mod selection;
#[cfg(test)]
mod tests;
mod turns;
mod workspace;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_files::Context;
use xbuild_files::copy::{CopyWarning, LayerSource};
use xbuild_layer::{Encoding, LayerIndex, LayerReader, Mtime, Tree};
use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::seam::{
    Blobs, CacheFolder, CacheRequest, Namespace, Purpose, Selection, Snapshots, Sources, Workspace,
};
use xbuild_model::{Chain, DiffId, Digest, ImageLayer, LayerBlob, StepFailure};
use xbuild_store::{Background, Store, TempFolder};

use crate::{EngineError, LayerSink, SinkBlob, SinkResult};

use crate::remove;

use packer::{Job, Packer, Watch};
use turns::KeyedLocks;

/// The engine. Clones are handles of the same one.
#[derive(Debug, Clone)]
pub struct Engine(Arc<Shared>);

/// What an engine is told once.
#[derive(Clone)]
pub struct EngineOptions {
    /// The build contexts by name; the empty name is the main one.
    pub contexts: BTreeMap<String, Arc<Context>>,
    /// Fetches what ADD takes from elsewhere; `None` if nothing does.
    pub sources: Option<Arc<dyn Sources>>,
    /// The modification time of what COPY and WORKDIR make and do not copy.
    pub default_mtime: Mtime,
    /// How new layers of images are compressed.
    pub encoding: Encoding,
    /// Takes a reader of the blob of each new layer of a result, when it is begun.
    pub on_blob: Option<packer::Watch>,
    /// Takes what the user should know about a COPY or ADD.
    pub on_warning: Arc<dyn Fn(&CopyWarning) + Send + Sync>,
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contexts, sources: _, default_mtime, encoding, on_blob: _, on_warning: _ } =
            self;
        f.debug_struct("EngineOptions")
            .field("contexts", contexts)
            .field("default_mtime", default_mtime)
            .field("encoding", encoding)
            .finish_non_exhaustive()
    }
}

impl Default for EngineOptions {
    /// No contexts, the epoch, gzip, and warnings dropped.
    fn default() -> Self {
        Self {
            contexts: BTreeMap::new(),
            sources: None,
            default_mtime: Mtime::default(),
            encoding: Encoding::default(),
            on_blob: None,
            on_warning: Arc::new(|_| {}),
        }
    }
}

/// What all handles share.
struct Shared {
    /// The first to be dropped, both: they may still be at work in the store.
    packer: Packer,
    sweeper: Background<TempFolder>,
    store: Arc<Store>,
    blobs: Arc<dyn Blobs>,
    namespace: Arc<dyn Namespace>,
    options: EngineOptions,
    known: Mutex<Known>,
    /// Held per layer while it is read or unpacked: whoever else needs it waits for the result.
    busy: KeyedLocks<DiffId>,
    parts: joined::Parts,
}

/// What has been found out in this process.
#[derive(Default)]
struct Known {
    /// Layers of resolved images.
    remote: HashMap<DiffId, ImageLayer>,
    indexes: HashMap<DiffId, Arc<LayerIndex>>,
    /// By the stack's chain ID.
    trees: HashMap<Digest, Tree>,
    /// What the top layers of stacks add to an overlay mount, by chain ID; only what is there.
    tops: HashMap<Digest, folders::Top>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shared {
    /// Works with what is known. No caller panics while it holds the lock, so that what a
    /// poisoned lock protects is whole too.
    fn known<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Begins a new layer. Its bytes also go to `tee`.
    fn begin_layer(
        &self,
        purpose: Purpose,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<LayerSink<'_>, EngineError> {
        let (encoding, watch) = self.blob_for(purpose);
        match watch {
            // What stands on it shall not wait for the compressor.
            _ if purpose.folder => Ok(LayerSink::spooled(&self.store, tee)),
            Some(watch) => LayerSink::watched(&self.store, encoding, tee, &**watch),
            None => LayerSink::new(&self.store, encoding, tee),
        }
    }

    /// Keeps what became of a new layer.
    fn end_layer(&self, purpose: Purpose, made: SinkResult) -> Result<DiffId, EngineError> {
        let SinkResult { diff_id: layer, blob, index } = made;
        self.remember(&layer, index);
        if let SinkBlob::Spooled(spool) = blob {
            let (encoding, watch) = self.blob_for(purpose);
            let watch = watch.cloned();
            self.packer.send(Job { layer: layer.clone(), spool, encoding, watch })?;
        }
        Ok(layer)
    }

    /// Returns what the blob of a new layer is to be like, and who reads along.
    fn blob_for(&self, purpose: Purpose) -> (Encoding, Option<&Watch>) {
        match purpose.result {
            true => (self.options.encoding, self.options.on_blob.as_ref()),
            false => (Encoding::passing(), None),
        }
    }
}

impl Engine {
    /// Makes an engine on a store. Nothing is started before it is needed.
    pub fn new(
        store: Arc<Store>,
        blobs: Arc<dyn Blobs>,
        namespace: Arc<dyn Namespace>,
        options: EngineOptions,
    ) -> Self {
        let known = Mutex::default();
        let busy = KeyedLocks::default();
        let parts = joined::Parts::default();
        let packer = Packer::new(Arc::clone(&store));
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
        }))
    }

    /// Waits until all layers that were made are in the store.
    ///
    /// **Errors** — the first failure.
    pub fn settle(&self) -> Result<(), StepFailure> {
        Ok(self.0.packer.wait_for_all()?)
    }

    /// Returns the merged tree of a stack of layers; those that were never indexed are read, and
    /// pulled for that.
    pub fn tree(&self, chain: &Chain) -> Result<Tree, StepFailure> {
        Ok(self.0.tree(chain)?)
    }

    /// Returns where the blob of a layer is.
    ///
    /// **Errors** — [`crate::EngineError::UnknownLayer`].
    pub fn blob(&self, layer: &DiffId) -> Result<LayerBlob, StepFailure> {
        Ok(self.0.blob(layer)?)
    }

    /// Returns the blobs of layers for an image whose layers are to be in `encoding`, made now
    /// where they are not in the store; in the order of `layers`.
    ///
    /// Layers of base images stay as they are, unless `force`; then they are pulled, too.
    ///
    /// **Errors** — [`crate::EngineError`]; what was made until then stays in the store.
    pub fn encoded(
        &self,
        layers: Vec<DiffId>,
        encoding: Encoding,
        force: bool,
    ) -> Result<Vec<LayerBlob>, StepFailure> {
        Ok(encoded::blobs(&self.0, layers, encoding, force)?)
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
        Ok(Box::new(workspace::Writable::prepare(&self.0, parent)?))
    }

    fn lowers(&self, chain: &Chain) -> Result<Vec<PathBuf>, StepFailure> {
        Ok(self.0.lowers(chain)?.folders)
    }

    fn cache_folder(
        &self,
        request: &CacheRequest<'_>,
    ) -> Result<Box<dyn CacheFolder>, StepFailure> {
        Ok(Box::new(cache_mount::hold(&self.0, request)?))
    }

    fn has_layer(&self, layer: &DiffId) -> bool {
        self.0.packer.is_pending(layer) || self.0.blob(layer).is_ok()
    }
}
