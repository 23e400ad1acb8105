//! Trails: what one build used, in one blob.
//!
//! A trail is a hint that saves requests. The last writer wins; where it is stale or missing, the
//! records of the steps answer.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xbuild_layer::LayerIndex;
use xbuild_model::{Descriptor, DiffId, Digest, Platform};

use crate::bundle::Bundle;
use crate::document::{Document, Parts, SIGNATURE};
use crate::payload::Payload;
use crate::{CacheDocumentError, PackedIndex, Record, Scope, Signer};

/// Bytes that the blob of a trail may have.
pub const MAX_TRAIL: u64 = 64 << 20;
/// Bytes that it may have when it is unpacked.
pub(crate) const MAX_UNPACKED: u64 = 256 << 20;
/// Packed bytes from which a tree index has a blob of its own, which changes less often.
const LARGE_INDEX: u64 = 1 << 20;

/// The annotation with the identity of the build.
pub(crate) const ID: &str = "xbuild.cache.build";
/// The annotation with the build as people know it.
pub(crate) const NAME: &str = "xbuild.cache.name";
/// The annotation with the number of steps.
pub(crate) const STEPS: &str = "xbuild.cache.steps";
/// The file with the list of records.
pub(crate) const LIST: &str = "trail.json";
/// The folder with the documents of base images, by digest.
pub(crate) const DOCUMENTS: &str = "documents/";
/// The folder with tree indexes, by diff ID.
pub(crate) const INDEXES: &str = "indexes/";

/// The identity of a build: what stays the same when files change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrailId(Digest);

impl TrailId {
    /// Returns the identity of the build of one platform: by the path of the Dockerfile in its
    /// context, the stage, the platform and the build arguments, whatever the files hold.
    pub fn new(
        dockerfile: &str,
        target: Option<&str>,
        platform: &Platform,
        arguments: &[(String, String)],
    ) -> Self {
        let arguments: BTreeMap<&str, &str> =
            arguments.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let head = Payload::new("xbuild build 1")
            .text(dockerfile)
            .text(target.unwrap_or_default())
            .text(&platform.to_string());
        let all = arguments.iter().fold(head, |all, (name, value)| all.text(name).text(value));
        Self(Digest::of(all.bytes()))
    }

    /// Returns it as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.hex()
    }
}

/// What a build used.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    /// The build as people know it: Dockerfile, stage and platform.
    pub name: String,
    /// The results of its steps.
    pub records: Vec<Record>,
    /// Manifests and configurations of base images.
    pub documents: Vec<Vec<u8>>,
    /// The tree indexes that its COPY steps looked at.
    pub indexes: Vec<(DiffId, TrailIndex)>,
}

/// A tree index of a trail.
#[derive(Debug, Clone, PartialEq)]
pub enum TrailIndex {
    /// In the trail itself.
    Here(LayerIndex),
    /// Packed in a blob of its own.
    Beside(Descriptor),
}

/// The list in a trail.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct List {
    pub(crate) records: Vec<Record>,
    pub(crate) indexes: Vec<Beside>,
}

/// A tree index with a blob of its own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Beside {
    pub(crate) of: DiffId,
    pub(crate) blob: Descriptor,
}

impl Trail {
    /// Makes the document of a trail. Large indexes get blobs of their own, which are among those of
    /// the document; the layers of all records are referenced.
    ///
    /// **Errors** — it is larger than a reader would take.
    pub fn document(
        &self,
        scope: &Scope,
        id: &TrailId,
        signer: Option<&Signer>,
        now: SystemTime,
    ) -> Result<Document, CacheDocumentError> {
        let mut list = List { records: self.records.clone(), indexes: Vec::new() };
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        let (mut beside, mut blobs) = (Vec::new(), Vec::new());
        for bytes in &self.documents {
            files.push((format!("{DOCUMENTS}{}", Digest::of(bytes).hex()), bytes.clone()));
        }
        for (of, index) in &self.indexes {
            let of = of.clone();
            match index {
                TrailIndex::Beside(blob) => list.indexes.push(Beside { of, blob: blob.clone() }),
                TrailIndex::Here(index) => {
                    let packed = PackedIndex::new(index)?;
                    if packed.blob.size < LARGE_INDEX {
                        let mut encoded = Vec::new();
                        index.encode(&mut encoded)?;
                        files.push((format!("{INDEXES}{}", of.0.hex()), encoded));
                    } else {
                        list.indexes.push(Beside { of, blob: packed.blob.clone() });
                        beside.push((packed.blob.clone(), packed.diff_id));
                        blobs.push((packed.blob, packed.bytes));
                    }
                }
            }
        }
        let json = serde_json::to_vec(&list).expect("a list has string keys only");
        files.sort();
        files.dedup();
        files.insert(0, (LIST.to_owned(), json));
        let files = files.iter().map(|(name, bytes)| (name.as_bytes(), bytes.as_slice()));
        let Bundle { blob, diff_id, bytes } = Bundle::pack(files)?;
        if blob.size > MAX_TRAIL {
            return Err(CacheDocumentError::TooLarge { limit: MAX_TRAIL });
        }
        let mut annotations: BTreeMap<String, String> =
            [(ID, id.hex()), (NAME, self.name.clone()), (STEPS, self.records.len().to_string())]
                .map(|(name, value)| (name.to_owned(), value))
                .into();
        if let Some(signer) = signer {
            let payload = payload(scope, id, &blob);
            annotations.insert(SIGNATURE.to_owned(), signer.sign(&payload));
        }
        let layers = [(blob.clone(), diff_id)].into_iter().chain(beside).chain(self.layers());
        blobs.push((blob, bytes));
        let title = format!("trail {}", self.name);
        let parts = Parts { title, layers: layers.collect(), annotations, blobs };
        Ok(Document::new(scope, now, parts))
    }

    /// Returns the layers of all records, each blob once.
    fn layers(&self) -> impl Iterator<Item = (Descriptor, DiffId)> {
        let layers = self.records.iter().flat_map(|record| &record.layers);
        let mut seen = std::collections::HashSet::new();
        layers
            .filter(move |layer| seen.insert(&layer.blob.digest))
            .map(|layer| (layer.blob.clone(), layer.diff_id.clone()))
    }
}

/// Returns what the signature of a trail covers: whose it is, and the blob with all its parts.
pub(crate) fn payload(scope: &Scope, id: &TrailId, blob: &Descriptor) -> Payload {
    Payload::new("xbuild trail 1").text(scope.name()).text(&id.hex()).descriptor(blob)
}
