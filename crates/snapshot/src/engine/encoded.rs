//! The blobs of layers in the encoding of an output.
//!
//! A result is known by the diff IDs of its layers, not by their compression. So one result serves
//! outputs of all encodings, and each blob is made once.

use std::io;

use tracing::debug_span;
use xbuild_layer::{Encoder, Encoding, LayerError, LayerIndex};
use xbuild_model::{BlobSource, Descriptor, DiffId, LayerBlob};
use xbuild_store::Hashed;

use super::shared::Shared;
use super::turns;
use crate::{EngineError, dense, sink};

/// Returns the blobs of layers. Those of base images stay as they are unless `force` is set, those of
/// a shared cache if they have the encoding and `stays` says so of their place.
pub(super) fn blobs(
    shared: &Shared,
    layers: Vec<DiffId>,
    (encoding, force): (Encoding, bool),
    stays: &(dyn Fn(&BlobSource) -> bool + Sync),
) -> Result<Vec<LayerBlob>, EngineError> {
    let name = encoding.to_string();
    turns::each(layers, |layer| {
        let base = shared.known(|known| known.remote.contains_key(&layer));
        if base && !force {
            return shared.blob(&layer);
        }
        if let Some(cached) = shared.cached_only(&layer)?
            && cached.encoding.as_deref() == Some(&name)
            && stays(&cached.layer.source)
        {
            return Ok(LayerBlob::Remote(cached.layer));
        }
        let descriptor = blob(shared, &layer, encoding)?;
        Ok(shared.stored_blob(&layer, descriptor))
    })
}

/// Returns the blob of a layer in an encoding, and makes it if it is missing.
pub(super) fn blob(
    shared: &Shared,
    layer: &DiffId,
    encoding: Encoding,
) -> Result<Descriptor, EngineError> {
    let name = encoding.to_string();
    shared.packer.wait(layer)?;
    if let Some(descriptor) = shared.store.encoded(layer, &name)? {
        return Ok(descriptor);
    }
    // Brings the layer into the store. This takes the lock that is taken again below.
    let tar = shared.read_tar(layer)?;
    let index = shared.index(layer)?;
    shared.busy.with(layer, || match shared.store.encoded(layer, &name)? {
        Some(descriptor) => Ok(descriptor),
        None => {
            let descriptor = encode(shared, (layer, &index), tar, encoding)?;
            shared.store.put_encoded(layer, &name, &descriptor)?;
            Ok(descriptor)
        }
    })
}

/// Compresses a layer again. The bytes read must still be those of the layer.
fn encode(
    shared: &Shared,
    (layer, index): (&DiffId, &LayerIndex),
    mut tar: impl io::Read,
    encoding: Encoding,
) -> Result<Descriptor, EngineError> {
    let _span = debug_span!("layer", work = "encode", diff_id = %layer, %encoding).entered();
    let fault = |source| EngineError::Layer { layer: layer.clone(), source };
    let write = |error| fault(LayerError::from_write(error));
    let encoder = Encoder::new(shared.store.blob_writer()?, encoding).map_err(write)?;
    let mut output = Hashed::new(encoder);
    let tar_size = sink::pump(&mut tar, &mut output).map_err(fault)?;
    let (encoder, digest) = output.finish();
    let actual = DiffId(digest);
    let (digest, size) = match encoder.finish().map_err(write)? {
        blob if actual == *layer => blob.commit(None)?,
        _ => {
            let blob = shared.blob(layer)?.descriptor().digest.clone();
            let expected = layer.clone();
            return Err(EngineError::DiffId { blob, expected, actual });
        }
    };
    let blob = Descriptor::new(encoding.compression().oci_media_type(), digest, size);
    dense::check(&shared.store, shared.options.bound, (tar_size, index), encoding, &blob)?;
    Ok(blob)
}
