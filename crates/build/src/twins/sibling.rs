//! The image for this machine in the index that has a base image.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use xbuild_exec::arch::Arch;
use xbuild_model::{Chain, Digest, FailureKind, Platform, ResolvedImage, StepFailure};

use crate::build::Build;
use crate::images;

/// What was found out about base images, by their manifests.
pub(super) type ByBase<T> = Mutex<BTreeMap<Digest, Arc<OnceLock<T>>>>;

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
