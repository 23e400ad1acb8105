//! The store and the shared caches as one.

use std::sync::Arc;

use xbuild_model::seam::{Snapshots as _, StepCache};
use xbuild_model::{Digest, StepFailure, StepRecord};
use xbuild_snapshot::Engine;
use xbuild_store::Store;

use super::imports::Imports;

/// The cache of a build: the store, then the shared caches. New results go to the store.
pub(crate) struct JoinedCache {
    pub(crate) store: Arc<Store>,
    pub(crate) imports: Arc<Imports>,
    pub(crate) engine: Engine,
}

impl JoinedCache {
    fn find_one(&self, key: &Digest) -> Result<Option<StepRecord>, StepFailure> {
        let own = self.store.cached(key)?;
        let is_usable =
            |record: &StepRecord| record.added.0.iter().all(|layer| self.engine.has_layer(layer));
        if own.as_ref().is_some_and(is_usable) {
            return Ok(own);
        }
        Ok(self.imports.find(key, &self.engine).map(|record| record.step()).or(own))
    }
}

impl StepCache for JoinedCache {
    fn find(&self, keys: &[Digest]) -> Result<Vec<Option<StepRecord>>, StepFailure> {
        keys.iter().map(|key| self.find_one(key)).collect()
    }

    fn remember(&self, key: &Digest, result: &StepRecord) -> Result<(), StepFailure> {
        Ok(self.store.put_cached(key, result)?)
    }
}
