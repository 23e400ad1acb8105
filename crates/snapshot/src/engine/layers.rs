//! Layers as bytes: finding, pulling, indexing, reading them, and the trees of their stacks.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

use tracing::debug_span;
use tracing::field::Empty;
use xbuild_layer::decode::decompress_any;
use xbuild_layer::{LayerError, LayerIndex, LayerReader, Tree, index_layer};
use xbuild_model::manifest::Compression;
use xbuild_model::transfer::{Direction, Metered, Moving, Transfer};
use xbuild_model::{
    BlobSource, Chain, Descriptor, DiffId, Digest, FailureKind, ImageLayer, LayerBlob, StepFailure,
    WrongBytes,
};
use xbuild_store::{BlobWriter, PullLock, StoreError};

use super::cached_layer::CachedLayer;
use super::shared::{Known, Shared};
use super::turns;
use crate::EngineError;

/// The output for the uncompressed bytes of a layer that is read.
pub(super) type Tee = Option<Box<dyn Write + Send>>;

impl Shared {
    /// Returns the merged tree of a stack of layers. The number of a layer is its place in the
    /// stack.
    pub(super) fn tree(&self, chain: &Chain) -> Result<Tree, EngineError> {
        self.tree_of(&chain.0, &chain.ids().collect::<Vec<_>>())
    }

    /// Does the same for layers with known chain IDs, one for each length of the stack.
    pub(super) fn tree_of(&self, layers: &[DiffId], ids: &[Digest]) -> Result<Tree, EngineError> {
        let known = |known: &mut Known| {
            let found = ids.iter().enumerate().rev();
            let mut found =
                found.filter_map(|(at, id)| Some((at + 1, known.trees.get(id)?.clone())));
            found.next()
        };
        let (count, mut tree) = self.known(known).unwrap_or_else(|| (0, Tree::empty()));
        self.known(|known| known.looked_at.extend(layers.iter().cloned()));
        let indexes = turns::each(layers[count..].to_vec(), |layer| self.index(&layer))?;
        for (number, index) in (count..).zip(indexes) {
            tree = tree.apply(u32::try_from(number).unwrap_or(u32::MAX), &index);
            self.known(|known| known.trees.insert(ids[number].clone(), tree.clone()));
        }
        Ok(tree)
    }

    /// Returns the index of a layer, and makes it if it is missing.
    pub(super) fn index(&self, layer: &DiffId) -> Result<Arc<LayerIndex>, EngineError> {
        if let Some(index) = self.known_index(layer)? {
            return Ok(index);
        }
        self.busy.with(layer, || match self.known_index(layer)? {
            Some(index) => Ok(index),
            None => self.twice(layer, || self.scan(layer, None)),
        })
    }

    /// Returns the index of a layer if this or another process has made it, or a shared cache has it.
    pub(super) fn known_index(
        &self,
        layer: &DiffId,
    ) -> Result<Option<Arc<LayerIndex>>, EngineError> {
        match self.checked_index(layer)? {
            Some(index) => Ok(Some(index)),
            None => self.foreign_index(layer),
        }
    }

    /// Returns the index of a layer if this or another process has made it from the layer's bytes.
    pub(super) fn checked_index(
        &self,
        layer: &DiffId,
    ) -> Result<Option<Arc<LayerIndex>>, EngineError> {
        if let Some(index) = self.known(|known| known.indexes.get(layer).cloned()) {
            return Ok(Some(index));
        }
        let Some(bytes) = self.store.index(layer)? else { return Ok(None) };
        // An index of another version is made again.
        let Ok(index) = LayerIndex::decode(&bytes) else { return Ok(None) };
        Ok(Some(self.remember(layer, index)))
    }

    /// Keeps the index of a layer for this process.
    pub(super) fn remember(&self, layer: &DiffId, index: LayerIndex) -> Arc<LayerIndex> {
        let index = Arc::new(index);
        self.known(|known| known.indexes.insert(layer.clone(), index.clone()));
        index
    }

    /// Does work that pulls a layer, once more if other bytes came than announced: a proxy may have
    /// changed or lost some. Bytes of mirrors do not count, as the next place is asked after them.
    pub(super) fn twice<T>(
        &self,
        layer: &DiffId,
        work: impl Fn() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let is_mismatch =
            |error: &EngineError| matches!(error, EngineError::Store(StoreError::Mismatch { .. }));
        let mut is_second = false;
        loop {
            let done = work();
            let is_wrong = done.as_ref().is_err_and(is_mismatch);
            if !is_wrong || self.options.cancel.is_cancelled() {
                return done;
            }
            let Ok(remote) = self.remote(layer) else { return done };
            let is_elsewhere = self.blobs.distrust(&remote.descriptor);
            if !is_elsewhere && std::mem::replace(&mut is_second, true) {
                return Err(WrongBytes::new(&remote.descriptor, &remote.source).into());
            }
        }
    }

    /// Reads a whole layer, which is then stored and indexed. Its uncompressed bytes go to `tee`.
    /// The caller holds the layer's lock.
    pub(super) fn scan(&self, layer: &DiffId, tee: Tee) -> Result<Arc<LayerIndex>, EngineError> {
        let index =
            self.scan_bytes(layer, tee).inspect_err(|error| self.note_wrong(layer, error))?;
        self.compare(layer, &index)?;
        Ok(index)
    }

    fn scan_bytes(&self, layer: &DiffId, tee: Tee) -> Result<Arc<LayerIndex>, EngineError> {
        let span = debug_span!("layer", work = "read", diff_id = %layer, compressed = Empty);
        let _entered = span.enter();
        let mut pull = None;
        let mut stored = self.stored(layer, Check::Later)?;
        if stored.is_none() {
            // Another process that shares the store may be pulling the same blob.
            let digest = self.origin(layer)?.descriptor.digest;
            pull = self.store.lock_pull(&digest, &self.options.cancel)?;
            if pull.is_some() {
                stored = self.stored(layer, Check::Later)?;
            }
        }
        let (descriptor, index) = match stored {
            Some((descriptor, blob)) => {
                let index = self.scan_stored(layer, &descriptor, blob, tee)?;
                (descriptor, index)
            }
            None => {
                let remote = self.origin(layer)?;
                let found = self.pull(&remote, tee, pull).and_then(|(actual, index)| {
                    refuse_other(layer, &remote.descriptor, &actual).map(|()| index)
                });
                (remote.descriptor, found.map_err(|error| self.blame(layer, error))?)
            }
        };
        span.record("compressed", descriptor.size);
        self.store.put_index(layer, |output| index.encode(output))?;
        self.store.put_layer(layer, &descriptor, None)?;
        Ok(self.remember(layer, index))
    }

    /// Compares the index of a layer from a shared cache with that of the layer, whose bytes another
    /// process has stored meanwhile.
    pub(super) fn confirm(&self, layer: &DiffId) -> Result<(), EngineError> {
        if !self.known(|known| known.unchecked.contains_key(layer)) {
            return Ok(());
        }
        match self.checked_index(layer)? {
            Some(index) => self.compare(layer, &index),
            None => {
                self.busy.with(layer, || self.twice(layer, || self.scan(layer, None))).map(drop)
            }
        }
    }

    /// Reads a layer whose blob is in the store.
    fn scan_stored(
        &self,
        layer: &DiffId,
        descriptor: &Descriptor,
        blob: File,
        tee: Tee,
    ) -> Result<LayerIndex, EngineError> {
        let blob = self.options.cancel.stream(blob);
        read(layer, descriptor, blob, tee).map_err(|error| {
            if self.options.cancel.is_cancelled() {
                return error;
            }
            // A damaged blob explains all that is wrong with its contents.
            let damage = self.store.check_blob(&descriptor.digest).err();
            damage.map_or_else(|| self.blame(layer, error), EngineError::from)
        })
    }

    /// Pulls a layer into the store. `lock` is held until the blob has its name.
    fn pull(
        &self,
        remote: &ImageLayer,
        tee: Tee,
        lock: Option<PullLock>,
    ) -> Result<(DiffId, LayerIndex), EngineError> {
        let Descriptor { digest, size, .. } = &remote.descriptor;
        check_type(&remote.diff_id, &remote.descriptor)?;
        // One byte more than announced shows that the blob is wrong.
        let moving = self.moving(remote);
        let input =
            self.blobs.open(&remote.descriptor, &remote.source, 0)?.take(size.saturating_add(1));
        let input = self.options.cancel.stream(Metered::new(input, moving));
        let mut blob = self.store.blob_writer()?;
        blob.hold(lock);
        let mut keep = Keep { input, blob, is_broken: false };
        // Writers of media types are often wrong; the diff ID shows whether the result is right.
        let found = decompress_any(&mut keep).and_then(|tar| index_layer(tar, tee));
        if keep.is_broken || matches!(found, Err(LayerError::Write { .. })) {
            return found.map_err(fault(&remote.diff_id));
        }
        // The blob also has the bytes after the decoder's end. A blob that does not match its
        // descriptor explains more than its contents.
        io::copy(&mut keep, &mut io::sink())
            .map_err(|source| fault(&remote.diff_id)(LayerError::Read { source }))?;
        keep.blob.commit(Some((digest, *size)))?;
        found.map_err(fault(&remote.diff_id))
    }

    /// Returns the place of a layer's blob.
    pub(super) fn blob(&self, layer: &DiffId) -> Result<LayerBlob, EngineError> {
        self.packer.wait(layer)?;
        match self.store.layer(layer)? {
            Some(descriptor) => Ok(self.stored_blob(layer, descriptor)),
            None => self.origin(layer).map(LayerBlob::Remote),
        }
    }

    /// Returns a layer whose blob is in a shared cache and nowhere else.
    pub(super) fn cached_only(&self, layer: &DiffId) -> Result<Option<CachedLayer>, EngineError> {
        let of_cache = self.known(|known| {
            let is_of_image = known.remote.contains_key(layer);
            known.cached.get(layer).filter(|_| !is_of_image).cloned()
        });
        Ok(match of_cache {
            Some(cached) if self.store.layer(layer)?.is_none() => Some(cached),
            _ => None,
        })
    }

    /// Returns whether a layer is in the store or part of a known image. It takes no failure of the
    /// packer: the caller could not tell it.
    pub(super) fn has_origin(&self, layer: &DiffId) -> bool {
        self.remote(layer).is_ok() || matches!(self.store.layer(layer), Ok(Some(_)))
    }

    /// Returns a blob of a layer that is in the store, with the base image that has it too.
    pub(super) fn stored_blob(&self, layer: &DiffId, descriptor: Descriptor) -> LayerBlob {
        let base = self.remote(layer).ok();
        let base = base.filter(|base| base.descriptor.digest == descriptor.digest);
        // Whether a layer may be pushed is a matter of the image, not of whoever pulled it first.
        let mut descriptor = descriptor;
        match base.iter().find(|base| base.descriptor.is_foreign()) {
            Some(base) => descriptor.clone_from(&base.descriptor),
            None => drop(descriptor.other.remove("urls")),
        }
        LayerBlob::Stored { descriptor, base: base.map(Box::new) }
    }

    /// Opens a layer for reading, pulling it if its blob is not in the store.
    pub(super) fn read_layer(
        &self,
        layer: &DiffId,
    ) -> Result<LayerReader<Box<dyn Read + Send>>, EngineError> {
        Ok(LayerReader::new(self.read_tar(layer)?))
    }

    /// Opens the tar stream of a layer, pulling it if its blob is not in the store.
    pub(super) fn read_tar(&self, layer: &DiffId) -> Result<Box<dyn Read + Send>, EngineError> {
        let (descriptor, blob) = match self.stored(layer, Check::Now)? {
            Some(found) => found,
            None => {
                self.busy.with(layer, || match self.stored(layer, Check::Now)? {
                    Some(_) => Ok(()),
                    None => self.twice(layer, || self.scan(layer, None)).map(drop),
                })?;
                self.stored(layer, Check::Now)?
                    .ok_or_else(|| EngineError::LayerGone { layer: layer.clone() })?
            }
        };
        self.confirm(layer)?;
        check_type(layer, &descriptor)?;
        decompress_any(blob).map_err(fault(layer))
    }

    /// Opens the blob of a layer if it is in the store.
    fn stored(
        &self,
        layer: &DiffId,
        check: Check,
    ) -> Result<Option<(Descriptor, File)>, EngineError> {
        self.packer.wait(layer)?;
        let descriptor = match self.store.layer(layer)? {
            Some(descriptor) => descriptor,
            // The blob came with another layer, or its record was lost.
            None => match self.remote(layer) {
                Ok(remote) if self.store.has_blob(&remote.descriptor) => remote.descriptor,
                _ => return Ok(None),
            },
        };
        let blob = match check {
            Check::Now => self.store.open_sound(&descriptor.digest)?,
            Check::Later => self.store.open_blob(&descriptor.digest)?,
        };
        Ok(blob.map(|blob| (descriptor, blob)))
    }

    /// Says whose fault a layer is that is not as it should be: the user's who gave an OCI layout,
    /// else the registry's.
    fn blame(&self, layer: &DiffId, error: EngineError) -> EngineError {
        let given = self.remote(layer).ok().filter(|remote| match remote.source {
            BlobSource::Layout { .. } => true,
            BlobSource::Registry { .. } | BlobSource::Store => false,
        });
        let Some(given) = given.filter(|_| !self.options.cancel.is_cancelled()) else {
            return error;
        };
        let is_malformed = match &error {
            EngineError::Layer { source, .. } => !matches!(source, LayerError::Write { .. }),
            EngineError::DiffId { .. } | EngineError::MediaType { .. } => true,
            EngineError::Store(StoreError::Mismatch { .. }) => {
                return WrongBytes::new(&given.descriptor, &given.source).into();
            }
            _ => false,
        };
        match is_malformed {
            true => StepFailure::new(FailureKind::User, error).into(),
            false => error,
        }
    }

    /// Returns where a layer can be pulled from, which the store does not have.
    fn origin(&self, layer: &DiffId) -> Result<ImageLayer, EngineError> {
        self.remote(layer).inspect_err(|_| self.store.note_missing(layer))
    }

    /// Begins the transfer of a layer from a registry. Files of this machine are read without a word.
    fn moving(&self, remote: &ImageLayer) -> Option<Moving> {
        let BlobSource::Registry { registry, repository } = &remote.source else { return None };
        let Descriptor { digest, size, .. } = &remote.descriptor;
        let place = format!("{registry}/{repository}");
        let is_of_image = self.known(|known| known.remote.contains_key(&remote.diff_id));
        let direction = if is_of_image { Direction::Pull } else { Direction::CacheFrom };
        let transfer = Transfer::new(direction, place, Some((digest.clone(), *size)));
        Some(Moving::begin(transfer, Arc::clone(&self.options.on_transfer)))
    }

    fn remote(&self, layer: &DiffId) -> Result<ImageLayer, EngineError> {
        let of_cache = |known: &Known| known.cached.get(layer).map(|cached| cached.layer.clone());
        self.known(|known| known.remote.get(layer).cloned().or_else(|| of_cache(known)))
            .ok_or_else(|| EngineError::UnknownLayer { layer: layer.clone() })
    }
}

/// Reads the whole blob of a layer. Its uncompressed bytes go to `tee`.
fn read(
    layer: &DiffId,
    descriptor: &Descriptor,
    blob: impl Read + Send,
    tee: Tee,
) -> Result<LayerIndex, EngineError> {
    check_type(layer, descriptor)?;
    let read = decompress_any(blob).and_then(|tar| index_layer(tar, tee));
    let (actual, index) = read.map_err(fault(layer))?;
    refuse_other(layer, descriptor, &actual).map(|()| index)
}

/// When the bytes of a stored blob are checked.
#[derive(Clone, Copy)]
enum Check {
    /// Before they are used: parts of a layer do not show that the rest is damaged.
    Now,
    /// At the end, by the diff ID of the whole layer.
    Later,
}

/// Refuses a blob that holds another layer than expected.
fn refuse_other(layer: &DiffId, blob: &Descriptor, actual: &DiffId) -> Result<(), EngineError> {
    if actual == layer {
        return Ok(());
    }
    let (blob, expected, actual) = (blob.digest.clone(), layer.clone(), actual.clone());
    Err(EngineError::DiffId { blob, expected, actual })
}

/// Refuses a blob that is no layer, or an encrypted one.
fn check_type(layer: &DiffId, descriptor: &Descriptor) -> Result<(), EngineError> {
    match Compression::of_media_type(&descriptor.media_type) {
        Some(_) => Ok(()),
        None => {
            let media_type = descriptor.media_type.clone();
            Err(EngineError::MediaType { layer: layer.clone(), media_type })
        }
    }
}

fn fault(layer: &DiffId) -> impl FnOnce(LayerError) -> EngineError {
    let layer = layer.clone();
    move |source| EngineError::Layer { layer, source }
}

/// Keeps the bytes of a blob while they are read.
struct Keep<'s, R> {
    input: R,
    blob: BlobWriter<'s>,
    /// Whether the input or the store failed, rather than the reader.
    is_broken: bool,
}

impl<R: Read> Read for Keep<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.input.read(buffer).and_then(|count| {
            self.blob.write_all(&buffer[..count])?;
            Ok(count)
        });
        self.is_broken |=
            result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted);
        result
    }
}
