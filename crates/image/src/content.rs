//! What a name stands for, as a push sends it and a layout holds it: manifests, indexes, and the
//! blobs that they name.

use std::collections::HashSet;

use xbuild_model::{Descriptor, Digest, Manifest};

use crate::assemble::Assembled;

/// A manifest or index, with all manifests and blobs below it.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Manifests and indexes, each once; what another names comes before it. At least one: the last
    /// is the root.
    documents: Vec<ContentDocument>,
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentDocument {
    /// Its descriptor.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The blobs that it names: layers, oldest first, and the configuration. None of an index.
    pub blobs: Vec<Descriptor>,
}

impl Content {
    /// Returns the content of a root, and of documents below it: what another names comes before it.
    pub(crate) fn new(below: Vec<ContentDocument>, root: ContentDocument) -> Self {
        let mut seen: HashSet<_> = [root.descriptor.digest.clone()].into();
        let mut documents = below;
        documents.retain(|document| seen.insert(document.descriptor.digest.clone()));
        documents.push(root);
        Self { documents }
    }

    /// Returns the content of an index that was put together, with documents that it names: what
    /// another names comes before it. Documents that the destination has may be left out. A manifest
    /// that takes the place of an index is among the documents, with its blobs.
    pub fn of_index(below: Vec<ContentDocument>, descriptor: Descriptor, bytes: Vec<u8>) -> Self {
        let own = below.iter().find(|document| document.descriptor.digest == descriptor.digest);
        let blobs = own.map(|document| document.blobs.clone()).unwrap_or_default();
        Self::new(below, ContentDocument { descriptor, bytes, blobs })
    }

    /// Returns the document that a name stands for.
    pub fn root(&self) -> &ContentDocument {
        self.documents.last().expect("a content has a root")
    }

    /// Returns the content of a manifest, which is `bytes`.
    pub fn of_manifest(descriptor: Descriptor, bytes: Vec<u8>, manifest: Manifest) -> Self {
        let mut seen = HashSet::new();
        let all = manifest.layers.into_iter().chain([manifest.config]);
        let blobs = all.filter(|blob| seen.insert(blob.digest.clone())).collect();
        Self::new(Vec::new(), ContentDocument { descriptor, bytes, blobs })
    }

    /// Returns one of the documents alone, without what another document names.
    pub(crate) fn alone(&self, digest: &Digest) -> Option<Self> {
        let mut documents = self.documents.iter();
        let found = documents.find(|document| document.descriptor.digest == *digest)?;
        Some(Self { documents: vec![found.clone()] })
    }

    /// Returns the documents below the root; what another names comes before it.
    pub fn children(&self) -> &[ContentDocument] {
        &self.documents[..self.documents.len() - 1]
    }

    /// Returns all documents, the root last.
    pub fn documents(&self) -> &[ContentDocument] {
        &self.documents
    }

    /// Returns the layers and configurations, each blob once.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let all = self.documents.iter().flat_map(|document| &document.blobs);
        let mut seen = HashSet::new();
        all.filter(|blob| seen.insert(&blob.digest)).collect()
    }
}

impl From<&Assembled> for Content {
    fn from(assembled: &Assembled) -> Self {
        let image = |image: &crate::AssembledImage| ContentDocument {
            descriptor: image.descriptor.clone(),
            bytes: image.manifest.clone(),
            blobs: image.layers.iter().chain([&image.config_descriptor]).cloned().collect(),
        };
        let attestation = |attestation: &crate::AssembledAttestation| ContentDocument {
            descriptor: attestation.descriptor.clone(),
            bytes: attestation.manifest.clone(),
            blobs: attestation.blobs.iter().map(|(blob, _)| blob.clone()).collect(),
        };
        let images = assembled.images.iter().map(image);
        let attestations = assembled.attestations.iter().map(attestation);
        let mut documents: Vec<_> = images.chain(attestations).collect();
        let root = match &assembled.index {
            Some(index) => Some(ContentDocument {
                descriptor: index.descriptor.clone(),
                bytes: index.bytes.clone(),
                blobs: Vec::new(),
            }),
            None => documents.pop(),
        };
        Self::new(documents, root.expect("there is at least one image"))
    }
}
