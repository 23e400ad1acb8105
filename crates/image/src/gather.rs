//! All documents of an image, to copy it as it is: no byte of what has a digest changes.

use std::collections::HashSet;

use xbuild_model::manifest::DescriptorPlatform;
use xbuild_model::{Descriptor, Digest, Index, Manifest, Platform};

use crate::attestation::SUBJECT;
use crate::content::{Content, ContentDocument};
use crate::document::{Document, is_image};
use crate::edit::IndexSource;
use crate::error::{DocumentError, ResolveError};
use crate::resolve::{Documents, config, invalid, is_attestation, parse, platform_of, resolve};

/// Depth of nested indexes: the root, and the indexes below it.
const MAX_NESTING: usize = 3;
/// Documents of one image at most: an index has one for each platform, and its attestations.
const MAX_DOCUMENTS: usize = 2_000;

/// Reads all manifests and indexes of an image; or, unless `platforms` is empty, those of the best
/// image for each of them.
///
/// One platform gives the manifest as it is, without its attestations. Several give an index of
/// their entries, with the attestations of their images.
///
/// **Errors** — a document is missing, or an entry of an index cannot be read: a copy is whole or not
/// at all. [`ResolveError::NoPlatform`].
pub fn gather<D: Documents>(documents: &D, platforms: &[Platform]) -> Result<Content, D::Error> {
    let (root, bytes) = documents.root()?;
    let chosen = choose(documents, platforms)?;
    let (root, bytes) = match (parse(documents, &root, &bytes)?, &chosen[..]) {
        (Document::Index(_), [one]) => (one.clone(), documents.manifest(one)?.to_vec()),
        (Document::Index(index), [_, _, ..]) => shortened(&root, index, &chosen),
        _ => (root, bytes.to_vec()),
    };
    let mut walk = Walk { documents, seen: HashSet::new(), found: Vec::new() };
    let root = walk.document(&root, bytes, 0)?;
    Ok(Content::new(walk.found, root))
}

/// Reads the manifests and indexes of single entries of an index, and those below them: what another
/// names comes before it.
///
/// **Errors** — those of [`gather`].
pub fn gather_entries<D: Documents>(
    documents: &D,
    entries: &[Descriptor],
) -> Result<Vec<ContentDocument>, D::Error> {
    let mut walk = Walk { documents, seen: HashSet::new(), found: Vec::new() };
    for entry in entries {
        if walk.seen.insert(entry.digest.clone()) {
            let bytes = documents.manifest(entry)?.to_vec();
            let document = walk.document(entry, bytes, 0)?;
            walk.found.push(document);
        }
    }
    Ok(walk.found)
}

/// Returns what a name stands for, as a part of an index: an index, or a manifest with the platform
/// that its configuration names.
pub fn index_source<D: Documents>(documents: &D) -> Result<IndexSource, D::Error> {
    let (root, bytes) = documents.root()?;
    let name = documents.name().to_owned();
    let mut plain = Descriptor::new(&root.media_type, root.digest.clone(), root.size);
    let index = match parse(documents, &root, &bytes)? {
        Document::Index(index) => Some(index),
        Document::Manifest(manifest) if is_image(&manifest) => {
            let config = config(documents, &root, &manifest)?;
            if platform_of(&config).is_some() {
                plain.platform = Some(DescriptorPlatform {
                    os_version: config.os_version.clone(),
                    os_features: config.os_features.clone(),
                    ..config.platform().to_descriptor()
                });
            }
            None
        }
        Document::Manifest(_) => None,
    };
    Ok(IndexSource { name, root: plain, bytes: bytes.to_vec(), index })
}

/// Returns the manifests of the best images for platforms, each once.
fn choose<D: Documents>(
    documents: &D,
    platforms: &[Platform],
) -> Result<Vec<Descriptor>, D::Error> {
    let mut chosen: Vec<Descriptor> = Vec::new();
    for platform in platforms {
        let image = resolve(documents, platform)?;
        // An image without an index is found for any platform.
        if !platform.accepted().contains(&image.platform) {
            let name = documents.name().to_owned();
            let (platform, available) = (platform.clone(), image.platform.to_string());
            return Err(ResolveError::NoPlatform { name, platform, available }.into());
        }
        if chosen.iter().all(|other| other.digest != image.manifest.digest) {
            chosen.push(image.manifest);
        }
    }
    Ok(chosen)
}

/// Returns an index with only these entries and their attestations.
fn shortened(root: &Descriptor, index: Index, chosen: &[Descriptor]) -> (Descriptor, Vec<u8>) {
    let is_about_one = |entry: &&Descriptor| {
        let subject = entry.annotations.get(SUBJECT);
        subject.is_some_and(|subject| chosen.iter().any(|c| c.digest.to_string() == *subject))
    };
    let attestations = index.manifests.iter().filter(|entry| is_attestation(entry));
    let manifests = chosen.iter().chain(attestations.filter(is_about_one)).cloned().collect();
    let index = Index { manifests, unreadable: Vec::new(), ..index };
    let bytes = serde_json::to_vec(&index).expect("an index has string keys only");
    (Descriptor::of(&root.media_type, &bytes), bytes)
}

/// A walk through the documents of an image.
struct Walk<'a, D> {
    documents: &'a D,
    seen: HashSet<Digest>,
    /// The documents below the root.
    found: Vec<ContentDocument>,
}

impl<D: Documents> Walk<'_, D> {
    /// Returns a document, after those below it were found.
    fn document(
        &mut self,
        descriptor: &Descriptor,
        bytes: Vec<u8>,
        depth: usize,
    ) -> Result<ContentDocument, D::Error> {
        let blobs = match parse(self.documents, descriptor, &bytes)? {
            Document::Manifest(manifest) => blobs(manifest),
            Document::Index(index) => {
                self.entries(descriptor, &index, depth)?;
                Vec::new()
            }
        };
        Ok(ContentDocument { descriptor: descriptor.clone(), bytes, blobs })
    }

    fn entries(
        &mut self,
        descriptor: &Descriptor,
        index: &Index,
        depth: usize,
    ) -> Result<(), D::Error> {
        let fail = |source| invalid(self.documents, "index", descriptor, source);
        if depth >= MAX_NESTING {
            return Err(fail(DocumentError::Nesting { limit: MAX_NESTING }).into());
        }
        if !index.unreadable.is_empty() {
            return Err(fail(DocumentError::Entries { count: index.unreadable.len() }).into());
        }
        if self.seen.len().saturating_add(index.manifests.len()) > MAX_DOCUMENTS {
            return Err(fail(DocumentError::TooMany { limit: MAX_DOCUMENTS }).into());
        }
        for entry in &index.manifests {
            if self.seen.insert(entry.digest.clone()) {
                let bytes = self.documents.manifest(entry)?.to_vec();
                let document = self.document(entry, bytes, depth + 1)?;
                self.found.push(document);
            }
        }
        Ok(())
    }
}

/// Returns the blobs of a manifest, each once.
fn blobs(manifest: Manifest) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    let all = manifest.layers.into_iter().chain([manifest.config]);
    all.filter(|blob| seen.insert(blob.digest.clone())).collect()
}
