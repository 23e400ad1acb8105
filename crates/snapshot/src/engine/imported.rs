//! Layers and tree indexes that a shared cache names.
//!
//! Nothing that a cache says is true because it says so. The bytes of a layer are compared with its
//! diff ID as those of any layer. A tree index is believed until the bytes of its layer arrive; then
//! it is compared with the index that they give. A RUN never stands on an index that was not
//! compared.

use std::sync::Arc;

use xbuild_layer::LayerIndex;
use xbuild_model::DiffId;

use super::shared::Shared;
use crate::EngineError;

impl Shared {
    /// Returns the index of a layer from a shared cache, unless the layer's bytes are at hand.
    pub(super) fn foreign_index(
        &self,
        layer: &DiffId,
    ) -> Result<Option<Arc<LayerIndex>>, EngineError> {
        let (unchecked, fetch) = self.known(|known| {
            (known.unchecked.get(layer).cloned(), known.foreign.get(layer).cloned())
        });
        if unchecked.is_some() {
            return Ok(unchecked);
        }
        let Some(fetch) = fetch else { return Ok(None) };
        if self.packer.is_pending(layer) || self.store.layer(layer)?.is_some() {
            return Ok(None);
        }
        let Some(index) = fetch() else { return Ok(None) };
        let index = Arc::new(index);
        self.known(|known| known.unchecked.insert(layer.clone(), Arc::clone(&index)));
        Ok(Some(index))
    }

    /// Compares the index that a layer's bytes give with that of a shared cache, if that was used.
    ///
    /// **Errors** — they differ: what was worked out with the other index is wrong.
    pub(super) fn compare(&self, layer: &DiffId, index: &LayerIndex) -> Result<(), EngineError> {
        match self.known(|known| known.unchecked.remove(layer)) {
            Some(foreign) if *foreign != *index => {
                (self.options.on_wrong)(layer);
                Err(EngineError::ForeignIndex { layer: layer.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Returns whether an index of these layers was not compared yet.
    pub(super) fn has_unchecked(&self, layers: &[DiffId]) -> bool {
        self.known(|known| layers.iter().any(|layer| known.unchecked.contains_key(layer)))
    }

    /// Notes that the blob of a layer could not be used, if only a shared cache has it.
    pub(super) fn note_wrong(&self, layer: &DiffId) {
        let is_cached = self
            .known(|known| known.cached.contains_key(layer) && !known.remote.contains_key(layer));
        if is_cached && !self.options.cancel.is_cancelled() {
            (self.options.on_wrong)(layer);
        }
    }
}
