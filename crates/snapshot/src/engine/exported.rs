//! The blobs of layers for a shared cache.

use xbuild_layer::Encoding;
use xbuild_model::{DiffId, LayerBlob};

use super::encoded;
use super::shared::Shared;
use crate::EngineError;

/// A layer for a shared cache.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportedLayer {
    /// Its blob.
    pub blob: LayerBlob,
    /// The name of the blob's encoding, if it is known.
    pub encoding: Option<String>,
}

/// Returns the blob of a layer: in an encoding, which is made if it is missing, or whichever is at
/// hand. A layer whose blob is only in a shared cache stays there.
pub(super) fn layer(
    shared: &Shared,
    layer: &DiffId,
    encoding: Option<Encoding>,
) -> Result<ExportedLayer, EngineError> {
    shared.packer.wait(layer)?;
    if let Some(cached) = shared.cached_only(layer)? {
        return Ok(ExportedLayer {
            blob: LayerBlob::Remote(cached.layer),
            encoding: cached.encoding,
        });
    }
    match encoding {
        Some(encoding) => {
            let blob = encoded::blob(shared, layer, encoding)?;
            let blob = shared.stored_blob(layer, blob);
            Ok(ExportedLayer { blob, encoding: Some(encoding.to_string()) })
        }
        None => {
            let encoding = shared.store.encoding(layer)?;
            Ok(ExportedLayer { blob: shared.blob(layer)?, encoding })
        }
    }
}
