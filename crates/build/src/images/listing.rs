//! The parts of its images that the store has.

use std::collections::HashSet;
use std::time::SystemTime;

use xbuild_image::{Document, Documents as _};
use xbuild_model::{Descriptor, Digest, ImageConfig, Manifest, Platform};
use xbuild_store::{ImageRecord, NameOwner, Store, StoreError};

use super::stored::StoredImage;
use crate::error::ImageError;

/// An image of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedImage {
    /// Its full name.
    pub name: String,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// The platforms that the store has it for, in the order of the index.
    pub platforms: Vec<Platform>,
    /// Bytes of its blobs in the store, each once. Images may share blobs.
    pub size: u64,
    /// When it got its name.
    pub named: SystemTime,
    /// Who decides what the name stands for.
    pub owner: NameOwner,
}

/// A manifest that the store has.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) descriptor: Descriptor,
    pub(super) manifest: Manifest,
    /// `None` for attestations and artifacts, and without a configuration in the store.
    pub(super) platform: Option<Platform>,
}

/// Returns all images, sorted by name.
pub(super) fn list(store: &Store) -> Result<Vec<ListedImage>, StoreError> {
    let listed = |(record, named): (ImageRecord, SystemTime)| {
        // An image that cannot be read has no platform and no size.
        let present = present(store, &record).unwrap_or_default();
        let mut blobs: Vec<&Descriptor> = vec![&record.target];
        for image in &present {
            blobs.extend([&image.descriptor, &image.manifest.config]);
            blobs.extend(&image.manifest.layers);
        }
        let mut seen = HashSet::new();
        let own = blobs.into_iter().filter(|blob| seen.insert(&blob.digest));
        let size = own.filter(|blob| store.has_blob(blob)).map(|blob| blob.size).sum();
        let platforms = present.iter().filter_map(|image| image.platform.clone()).collect();
        let (digest, owner) = (record.target.digest.clone(), record.owner);
        ListedImage { name: record.name.clone(), digest, platforms, size, named, owner }
    };
    Ok(store.images()?.into_iter().map(listed).collect())
}

/// Returns the manifests of an image that the store has. Those of nested indexes are left out.
pub(super) fn present(store: &Store, record: &ImageRecord) -> Result<Vec<Present>, ImageError> {
    let image = StoredImage { store, record, client: None };
    let (root, bytes) = image.root()?;
    let entries = match parse(&root, &bytes) {
        Some(Document::Index(index)) => index.manifests,
        _ => vec![root],
    };
    let mut found = Vec::new();
    for entry in entries {
        let bytes = match image.manifest(&entry) {
            Err(error) if StoredImage::is_of_document(&error) => continue,
            bytes => bytes?,
        };
        let Some(Document::Manifest(manifest)) = parse(&entry, &bytes) else { continue };
        let platform = platform(&image, &entry, &manifest);
        found.push(Present { descriptor: entry, manifest, platform });
    }
    Ok(found)
}

fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Option<Document> {
    Document::parse(Some(&descriptor.media_type), bytes).ok().map(|(document, _)| document)
}

/// Returns the platform of an image: that of the index, else that of the configuration.
fn platform(image: &StoredImage<'_>, entry: &Descriptor, manifest: &Manifest) -> Option<Platform> {
    let named = entry.platform.as_ref().filter(|p| !p.os.is_empty() && !p.architecture.is_empty());
    if let Some(named) = named {
        return (named.os != "unknown").then(|| Platform::of_descriptor(named));
    }
    let bytes = image.config(&manifest.config).ok()?;
    let config: ImageConfig = serde_json::from_slice(&bytes).ok()?;
    (!config.os.is_empty() && !config.architecture.is_empty()).then(|| config.platform())
}
