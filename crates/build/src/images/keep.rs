//! Keeping the result of a build in the store under its names.

use std::collections::BTreeMap;

use xbuild_image::{Assembled, BlobPlace, Built};
use xbuild_model::{BlobSource, Descriptor, Digest, Reference};
use xbuild_store::ImageRecord;

use super::bases::pulled;
use crate::build::Build;
use crate::error::{During, ExportError};
use crate::run::Solved;
use crate::variant::Variant;

/// Keeps images under names, each with the descriptor of its manifest or index.
///
/// Layers of base images that no step needed stay where they are, in a registry: the record says
/// where. Those of a layout are copied, since its folder may be gone later.
pub(crate) fn keep<'n>(
    (build, variant): (&Build, &Variant),
    solved: &Solved,
    (assembled, built): (&Assembled, &Built<'_>),
    names: impl Iterator<Item = (&'n Reference, &'n Descriptor)>,
) -> Result<(), ExportError> {
    let is_pushed = variant.is_pushed;
    let layers = layers(solved, (assembled, built), is_pushed)?;
    let keep = || {
        for image in &assembled.images {
            build.store.put_blob(&image.config)?;
            build.store.put_blob(&image.manifest)?;
        }
        for attestation in &assembled.attestations {
            for (_, bytes) in &attestation.blobs {
                build.store.put_blob(bytes)?;
            }
            build.store.put_blob(&attestation.manifest)?;
        }
        build.store.put_blob(assembled.root().1)?;
        for (name, target) in names {
            let record = match is_pushed {
                true => pulled(name, target.clone()),
                false => ImageRecord {
                    layers: layers.clone(),
                    ..ImageRecord::new(name.to_string(), target.clone())
                },
            };
            build.store.put_image(&record)?;
        }
        Ok(())
    };
    keep().map_err(ExportError::Store)
}

/// Returns the names that the store gives an image of this digest.
pub(crate) fn names(variant: &Variant, digest: &Digest) -> Vec<Reference> {
    let options = variant.image().unwrap_or_default();
    let mut names = match options.by_digest {
        true => Vec::new(),
        false => variant.names.clone(),
    };
    if options.canonical {
        names.extend(variant.names.iter().map(|name| name.with_digest(digest)));
    }
    names.dedup();
    names
}

/// Returns where else layers are, by the digests of their blobs. After this each layer is in the
/// store, or in a registry.
fn layers(
    solved: &Solved,
    (assembled, built): (&Assembled, &Built<'_>),
    is_pushed: bool,
) -> Result<BTreeMap<Digest, BlobSource>, ExportError> {
    let mut places = BTreeMap::new();
    for (image, made) in solved.images.iter().zip(&assembled.images) {
        for (layer, blob) in image.layers.0.iter().zip(&made.layers) {
            match built.place(blob) {
                Some(
                    BlobPlace::Remote(source @ BlobSource::Registry { .. })
                    | BlobPlace::Stored(Some(source @ BlobSource::Registry { .. })),
                ) => drop(places.insert(blob.digest.clone(), source.clone())),
                Some(BlobPlace::Remote(_)) if !is_pushed => {
                    let fetched = solved.engine.fetch(layer);
                    fetched
                        .map_err(During::new("keeping the image"))
                        .map_err(ExportError::Stage)?;
                }
                _ => {}
            }
        }
    }
    Ok(places)
}
