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
                let error = EngineError::ForeignIndex { layer: layer.clone() };
                (self.options.on_wrong)(layer, &error);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// Returns whether an index of these layers was not compared yet.
    pub(super) fn has_unchecked(&self, layers: &[DiffId]) -> bool {
        self.known(|known| layers.iter().any(|layer| known.unchecked.contains_key(layer)))
    }

    /// Notes that the blob of a layer could not be used, if only a shared cache has it.
    pub(super) fn note_wrong(&self, layer: &DiffId, error: &EngineError) {
        let is_cached = self
            .known(|known| known.cached.contains_key(layer) && !known.remote.contains_key(layer));
        if is_cached && !self.options.cancel.is_cancelled() {
            (self.options.on_wrong)(layer, error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use xbuild_layer::{Change, LayerIndex};
    use xbuild_model::file_op::FileOp;
    use xbuild_model::seam::Snapshots as _;
    use xbuild_model::{Chain, DiffId};
    use xbuild_testkit::requests::copy as request;

    use super::super::EngineOptions;
    use super::super::cached_layer::CachedLayer;
    use super::super::tests::{Setup, message, setup, setup_of};
    use super::*;

    const FILES: &[&[&str]] = &[&["d d 755", "f d/x 1", "f a 2"]];

    /// Makes an engine that has not read the layer of [`FILES`], but has a list of its files from a
    /// shared cache: the right one, or one that says something else.
    fn setup_with_index(is_right: bool) -> (Setup, Chain, Arc<Mutex<Vec<DiffId>>>) {
        let other = setup();
        let chain = other.image(FILES);
        let right = other.engine.0.index(&chain.0[0]).unwrap();
        let index = match is_right {
            true => (*right).clone(),
            false => LayerIndex::new(vec![(Change::Whiteout(b"gone".to_vec()), None)]).unwrap(),
        };
        let wrong: Arc<Mutex<Vec<DiffId>>> = Arc::default();
        let told = Arc::clone(&wrong);
        let options = EngineOptions {
            on_wrong: Arc::new(move |layer, _| told.lock().unwrap().push(layer.clone())),
            ..EngineOptions::default()
        };
        let setup = setup_of(!rustix::process::geteuid().is_root(), options);
        assert_eq!(setup.image(FILES), chain);
        setup.engine.add_index(chain.0[0].clone(), Arc::new(move || Some(index.clone())));
        (setup, chain, wrong)
    }

    #[test]
    fn a_list_of_files_saves_the_layer() {
        let (setup, chain, wrong) = setup_with_index(true);
        let copy = FileOp::Copy(request("COPY <<EOF /d/y\nEOF"));
        assert!(setup.engine.selects_without_pulling(&chain, &copy, None).unwrap());
        assert_eq!(setup.engine.tree(&chain).unwrap().walk(b"").count(), 4);
        assert_eq!(setup.opened(), 0);
        // It is no list that others may have, until the layer was read.
        assert_eq!(setup.engine.checked_index(&chain.0[0]).unwrap(), None);
        setup.engine.fetch(&chain.0[0]).unwrap();
        assert_eq!(setup.opened(), 1);
        assert!(setup.engine.checked_index(&chain.0[0]).unwrap().is_some());
        assert!(wrong.lock().unwrap().is_empty());
    }

    #[test]
    fn a_wrong_list_is_noticed_when_the_layer_comes() {
        let (setup, chain, wrong) = setup_with_index(false);
        assert_eq!(setup.engine.tree(&chain).unwrap().walk(b"").count(), 1);
        let error = setup.engine.fetch(&chain.0[0]).unwrap_err();
        assert!(message(&error).contains("wrong tree index"), "{error}");
        assert_eq!(*wrong.lock().unwrap(), chain.0);
    }

    #[test]
    fn no_step_stands_on_a_list_that_was_not_compared() {
        let (setup, chain, wrong) = setup_with_index(false);
        setup.engine.tree(&chain).unwrap();
        assert!(setup.engine.prepare(&chain).is_err());
        assert_eq!(*wrong.lock().unwrap(), chain.0);
    }

    #[test]
    fn a_layer_that_a_cache_lacks_is_told() {
        let (setup, chain, wrong) = setup_with_index(true);
        let mut layer = setup.publish(b"");
        layer.diff_id = DiffId(xbuild_model::Digest::of(b"other"));
        layer.descriptor.digest = xbuild_model::Digest::of(b"not there");
        let diff_id = layer.diff_id.clone();
        setup.engine.add_cached(vec![CachedLayer { layer, encoding: None }]);
        assert!(setup.engine.has_layer(&diff_id));
        assert!(setup.engine.fetch(&diff_id).is_err());
        assert_eq!(*wrong.lock().unwrap(), [diff_id]);
        // A layer of a base image is another's business.
        assert!(setup.engine.has_layer(&chain.0[0]));
    }
}
