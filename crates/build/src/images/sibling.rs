//! The image for another platform in the index that an image was chosen from.

use xbuild_image::Layout;
use xbuild_model::{BlobSource, FailureKind, Platform, ResolvedImage};
use xbuild_registry::Client;
use xbuild_store::{ImageRecord, Store};

use super::stored::{StoredImage, descriptor};
use crate::error::{ErrorKind, Fault as _, ImageError};

/// Returns the image for a platform beside another one; `None` if there is none.
pub(crate) fn sibling(
    client: &Client,
    store: &Store,
    image: &ResolvedImage,
    platform: &Platform,
) -> Result<Option<ResolvedImage>, ImageError> {
    let Some(layer) = image.layers.first().filter(|_| image.root != image.manifest.digest) else {
        return Ok(None);
    };
    match resolve(client, store, image, &layer.source, platform) {
        // The index has none.
        Err(error) if error.kind() == ErrorKind::Stage(FailureKind::User) => Ok(None),
        resolved => resolved,
    }
}

/// Resolves the index again, where it came from.
fn resolve(
    client: &Client,
    store: &Store,
    image: &ResolvedImage,
    source: &BlobSource,
    platform: &Platform,
) -> Result<Option<ResolvedImage>, ImageError> {
    let root = &image.root;
    match source {
        BlobSource::Registry { registry, repository } => {
            let reference = format!("{registry}/{repository}@{root}").parse()?;
            Ok(Some(client.resolve(&reference, platform)?))
        }
        BlobSource::Layout { path } => {
            Ok(Some(Layout::open(path)?.resolve(Some(&root.to_string()), platform)?))
        }
        BlobSource::Store => {
            let Some(target) = descriptor(store, root)? else { return Ok(None) };
            let record = ImageRecord::new(image.name.clone(), target);
            StoredImage { store, record: &record, client: None }.resolve(platform)
        }
    }
}
