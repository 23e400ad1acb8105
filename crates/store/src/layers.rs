//! Records of layers: which blob holds a layer, and its tree index.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use xbuild_model::{Descriptor, DiffId};

use crate::{Store, StoreError, record};

/// The blob that holds a layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct LayerRecord {
    #[serde(flatten)]
    blob: Descriptor,
    /// The name of the blob's encoding, if the blob was made here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
}

/// The age of a note of a layer's last use that is not made anew.
const NOTED: Duration = Duration::from_secs(60);

impl Store {
    /// Returns the descriptor of the blob that holds a layer, if the blob is here.
    pub fn layer(&self, layer: &DiffId) -> Result<Option<Descriptor>, StoreError> {
        self.pin(&layer.0)?;
        let found: Option<LayerRecord> = self.read_record("layers", &layer.0)?;
        let found = found.map(|record| record.blob).filter(|blob| self.has_pinned_blob(blob));
        if found.is_some() {
            self.use_layer(layer);
        }
        Ok(found)
    }

    /// Returns the name of the encoding of the blob that holds a layer, if the blob was made here.
    pub fn encoding(&self, layer: &DiffId) -> Result<Option<String>, StoreError> {
        let found: Option<LayerRecord> = self.read_record("layers", &layer.0)?;
        Ok(found.and_then(|record| record.encoding))
    }

    /// Records the blob that holds a layer, and the name of its encoding if that is known. The blob
    /// must be here.
    pub fn put_layer(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        encoding: Option<&str>,
    ) -> Result<(), StoreError> {
        self.pin(&layer.0)?;
        let (blob, encoding) = (blob.clone(), encoding.map(str::to_owned));
        self.write_record("layers", &layer.0, &LayerRecord { blob, encoding })
    }

    /// Returns the descriptor of the blob that holds a layer in this encoding, if the blob is here.
    pub fn encoded(
        &self,
        layer: &DiffId,
        encoding: &str,
    ) -> Result<Option<Descriptor>, StoreError> {
        self.pin(&layer.0)?;
        let found: Option<LayerRecord> = self.read_record("layers", &layer.0)?;
        let found = found.filter(|record| record.encoding.as_deref() == Some(encoding));
        let found = match found {
            Some(record) => Some(record.blob),
            None => self.read_record_at(&self.encoded_path(layer, encoding))?,
        };
        Ok(found.filter(|blob| self.has_pinned_blob(blob)))
    }

    /// Records the blob that holds a layer in this encoding, a name of letters, digits and hyphens.
    /// The blob must be here.
    pub fn put_encoded(
        &self,
        layer: &DiffId,
        encoding: &str,
        blob: &Descriptor,
    ) -> Result<(), StoreError> {
        self.pin(&layer.0)?;
        self.write_record_at(self.encoded_path(layer, encoding), blob)
    }

    /// Returns the layer that has the files of this one without times after `latest`, in seconds
    /// since 1970, if it was made.
    pub fn clamped(&self, layer: &DiffId, latest: u64) -> Result<Option<DiffId>, StoreError> {
        self.read_record_at(&self.clamped_path(layer, latest))
    }

    /// Records that layer.
    pub fn put_clamped(
        &self,
        layer: &DiffId,
        latest: u64,
        clamped: &DiffId,
    ) -> Result<(), StoreError> {
        self.pin(&layer.0)?;
        self.write_record_at(self.clamped_path(layer, latest), clamped)
    }

    /// Returns the tree index of a layer, the bytes that were written.
    pub fn index(&self, layer: &DiffId) -> Result<Option<Vec<u8>>, StoreError> {
        self.pin(&layer.0)?;
        Ok(self.read_file(&self.path("indexes", &layer.0))?.and_then(record::unseal))
    }

    /// Keeps the tree index of a layer. `write` writes it piece by piece, since it may be large.
    pub fn put_index(
        &self,
        layer: &DiffId,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.pin(&layer.0)?;
        self.publish_written(self.path("indexes", &layer.0), write)
    }

    /// Notes that a layer is in use, for trims of the store; once in a while is enough.
    fn use_layer(&self, layer: &DiffId) {
        let path = self.path("layers", &layer.0);
        let age = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
        let age = age.and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > NOTED) {
            // Only the order of trims depends on it.
            let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        }
    }

    fn clamped_path(&self, layer: &DiffId, latest: u64) -> PathBuf {
        self.root().join("layers").join(format!("{}.until-{latest}", layer.0.hex()))
    }

    fn encoded_path(&self, layer: &DiffId, encoding: &str) -> PathBuf {
        self.root().join("layers").join(format!("{}.{encoding}", layer.0.hex()))
    }
}
