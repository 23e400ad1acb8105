//! The documents of an image, for display.

use xbuild_model::{Descriptor, ImageConfig, Index, Manifest, Platform};

use crate::attestation::{ATTESTATION, STATEMENT, SUBJECT, TYPE};
use crate::document::{Document, is_image, is_index};
use crate::resolve::{Documents, config, is_attestation, parse};

/// A manifest or index, with the documents that it points to.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// The name of the image.
    pub name: String,
    /// The descriptor of the manifest or index.
    pub root: Descriptor,
    /// The bytes of that document, unchanged.
    pub bytes: Vec<u8>,
    /// The index; `None` if the document is a manifest.
    pub index: Option<Index>,
    /// The manifest, or those of the index in its order. Nested indexes are left out.
    pub images: Vec<InspectedImage>,
    /// The entries of the index that are missing or not valid.
    pub unread: Vec<Descriptor>,
}

/// A manifest, with its configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedImage {
    /// The descriptor; in an index with platform and annotations.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration; `None` for attestations and artifacts, which are not container images.
    pub config: Option<ImageConfig>,
}

impl InspectedImage {
    /// Returns the platform that the index names, else that of the configuration.
    pub fn platform(&self) -> Option<Platform> {
        let named = self.descriptor.platform.as_ref().map(Platform::of_descriptor);
        named.or_else(|| self.config.as_ref().map(ImageConfig::platform))
    }

    /// Returns whether this is a statement about another image.
    pub fn is_attestation(&self) -> bool {
        is_attestation(&self.descriptor)
    }
}

/// Reads all manifests and configurations, but no layer.
pub fn inspect<D: Documents>(documents: &D) -> Result<Inspection, D::Error> {
    let (root, bytes) = documents.root()?;
    let mut inspection = Inspection {
        name: documents.name().to_owned(),
        root: root.clone(),
        bytes: bytes.to_vec(),
        index: None,
        images: Vec::new(),
        unread: Vec::new(),
    };
    match parse(documents, &root, &bytes)? {
        Document::Manifest(manifest) => inspection.images.push(image(documents, root, manifest)?),
        Document::Index(index) => {
            for entry in index.manifests.iter().filter(|entry| !is_index(entry)) {
                match read(documents, entry) {
                    Ok(found) => inspection.images.extend(found),
                    // It spoils no other.
                    Err(error) if D::is_of_document(&error) => {
                        inspection.unread.push(entry.clone());
                    }
                    Err(error) => return Err(error),
                }
            }
            inspection.index = Some(index);
        }
    }
    Ok(inspection)
}

/// A statement about an image of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundStatement {
    /// The digest of the image's manifest.
    pub about: String,
    /// The in-toto statement, as JSON.
    pub bytes: Vec<u8>,
}

/// Reads the statements about images, in the order of the index.
///
/// **Errors** — a statement is missing, damaged, or has more than [`MAX_CONFIG`] bytes.
///
/// [`MAX_CONFIG`]: crate::document::MAX_CONFIG
pub fn statements<D: Documents>(
    documents: &D,
    inspection: &Inspection,
) -> Result<Vec<FoundStatement>, D::Error> {
    let mut found = Vec::new();
    for InspectedImage { descriptor, manifest, .. } in &inspection.images {
        let is_meant = descriptor.annotations.get(TYPE).is_some_and(|kind| kind == ATTESTATION);
        let Some(about) = descriptor.annotations.get(SUBJECT).filter(|_| is_meant) else {
            continue;
        };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == STATEMENT) {
            // A statement is a small document, too, and is checked like one.
            let bytes = documents.config(layer)?.to_vec();
            found.push(FoundStatement { about: about.clone(), bytes });
        }
    }
    Ok(found)
}

/// Reads an entry of an index; `None` if it is an index.
fn read<D: Documents>(
    documents: &D,
    entry: &Descriptor,
) -> Result<Option<InspectedImage>, D::Error> {
    let bytes = documents.manifest(entry)?;
    match parse(documents, entry, &bytes)? {
        Document::Manifest(manifest) => image(documents, entry.clone(), manifest).map(Some),
        Document::Index(_) => Ok(None),
    }
}

fn image<D: Documents>(
    documents: &D,
    descriptor: Descriptor,
    manifest: Manifest,
) -> Result<InspectedImage, D::Error> {
    // Attestations have the configuration of an image, but layers of another kind.
    let is_image = is_image(&manifest) && !crate::resolve::is_attestation(&descriptor);
    let config = match is_image {
        true => Some(config(documents, &descriptor, &manifest)?),
        false => None,
    };
    Ok(InspectedImage { descriptor, manifest, config })
}
