//! Records: the result of one step.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xbuild_model::{Chain, Descriptor, DiffId, Digest, StepRecord};

use crate::document::{DIFF_ID, Document, Parts, SIGNATURE};
use crate::payload::Payload;
use crate::{PackedIndex, Scope, Signer};

/// The annotation with the key of the step.
pub(crate) const KEY: &str = "xbuild.cache.key";
/// The annotation with the time when the step ran.
pub(crate) const CREATED: &str = "xbuild.cache.created";
/// The annotation with the step as progress shows it.
pub(crate) const STEP: &str = "xbuild.cache.step";
/// The annotation of a layer with the name of its encoding.
pub(crate) const ENCODING: &str = "xbuild.cache.encoding";
/// The annotation of a tree index with the layer that it is of.
pub(crate) const INDEX_OF: &str = "xbuild.cache.index-of";

/// The layers that a step may have added. Steps add one.
pub(crate) const MAX_LAYERS: usize = 16;

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The key of the step.
    pub key: Digest,
    /// When the step ran, RFC 3339.
    pub created: String,
    /// The step as progress shows it.
    pub description: String,
    /// The layers that the step added, oldest first; at least one.
    pub layers: Vec<RecordLayer>,
}

/// A layer of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordLayer {
    /// The digest of the uncompressed layer.
    pub diff_id: DiffId,
    /// Its blob, without annotations.
    pub blob: Descriptor,
    /// The name of the blob's encoding, if it is one of ours: `gzip-3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// The blob with its tree index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Descriptor>,
}

impl Record {
    /// Returns the result as the cache of one machine remembers it.
    pub fn step(&self) -> StepRecord {
        StepRecord {
            added: Chain(self.layers.iter().map(|layer| layer.diff_id.clone()).collect()),
            created: self.created.clone(),
            description: self.description.clone(),
        }
    }

    /// Makes the document of a record. `indexes` are the tree indexes of its layers, in their order,
    /// as far as they are known; they take the place of those in the record.
    ///
    /// The record must have a layer: registries refuse images without.
    pub fn document(
        &self,
        scope: &Scope,
        indexes: &[Option<PackedIndex>],
        signer: Option<&Signer>,
        now: SystemTime,
    ) -> Document {
        let mut record = self.clone();
        for (layer, index) in record.layers.iter_mut().zip(indexes) {
            layer.index = index.as_ref().map(|index| index.blob.clone());
        }
        let mut layers: Vec<(Descriptor, DiffId)> = Vec::new();
        for layer in &record.layers {
            let mut blob = layer.blob.clone();
            blob.annotations.insert(DIFF_ID.to_owned(), layer.diff_id.to_string());
            if let Some(encoding) = &layer.encoding {
                blob.annotations.insert(ENCODING.to_owned(), encoding.clone());
            }
            layers.push((blob, layer.diff_id.clone()));
        }
        for (layer, index) in record.layers.iter().zip(indexes) {
            if let Some(index) = index {
                let mut blob = index.blob.clone();
                blob.annotations.insert(INDEX_OF.to_owned(), layer.diff_id.to_string());
                layers.push((blob, index.diff_id.clone()));
            }
        }
        let mut annotations: BTreeMap<String, String> = [
            (KEY, record.key.to_string()),
            (CREATED, record.created.clone()),
            (STEP, record.description.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(signer) = signer {
            annotations.insert(SIGNATURE.to_owned(), signer.sign(&record.payload(scope)));
        }
        let indexes = indexes.iter().flatten();
        let blobs = indexes.map(|index| (index.blob.clone(), index.bytes.clone())).collect();
        let title = format!("step {}", record.description);
        Document::new(scope, now, Parts { title, layers, annotations, blobs })
    }

    /// Returns what a signature covers: all of the record, and its scope.
    pub(crate) fn payload(&self, scope: &Scope) -> Payload {
        let head = Payload::new("xbuild record 1")
            .text(scope.name())
            .text(&self.key.to_string())
            .text(&self.created)
            .text(&self.description)
            .number(self.layers.len() as u64);
        self.layers.iter().fold(head, |payload, layer| {
            let payload = payload
                .text(&layer.diff_id.to_string())
                .descriptor(&layer.blob)
                .text(layer.encoding.as_deref().unwrap_or_default());
            match &layer.index {
                Some(index) => payload.number(1).descriptor(index),
                None => payload.number(0),
            }
        })
    }
}
