//! The image for this machine in the index that has a base image.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use xbuild_exec::arch::Arch;
use xbuild_model::{Chain, Digest, FailureKind, Platform, ResolvedImage, StepFailure};

use crate::build::Build;
use crate::images;

/// Facts about base images, by their manifests.
#[derive(Debug)]
pub(super) struct ByBase<T>(Mutex<BTreeMap<Digest, Arc<OnceLock<T>>>>);

impl<T> Default for ByBase<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> ByBase<T> {
    /// Returns the fact about a base image. The first caller finds it, others wait.
    pub(super) fn get(&self, base: &ResolvedImage, find: impl FnOnce() -> T) -> T {
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fact = Arc::clone(facts.entry(base.manifest.digest.clone()).or_default());
        drop(facts);
        fact.get_or_init(find).clone()
    }
}

/// Returns the sibling of a base image; `None` if there is none.
pub(super) fn sibling(
    build: &Build,
    base: &ResolvedImage,
) -> Result<Option<ResolvedImage>, StepFailure> {
    let Build { client, store, .. } = build;
    let found = images::sibling(client, store, base, &Platform::host())
        .map_err(|error| StepFailure::new(FailureKind::Remote, error))?;
    Ok(found.filter(|image| Arch::of(&image.platform) == Arch::host()))
}

/// Returns the layers of an image.
pub(super) fn chain(image: &ResolvedImage) -> Chain {
    Chain(image.layers.iter().map(|layer| layer.diff_id.clone()).collect())
}
