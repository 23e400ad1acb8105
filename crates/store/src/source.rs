//! What was fetched from web servers and git repositories.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xbuild_model::Digest;

use crate::boot::SOURCES;
use crate::{Store, StoreError, folder};

/// What is known of a source that was fetched before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The key of the folder with the files.
    pub folder: Digest,
    /// What the server said about this version (`ETag`).
    pub etag: Option<String>,
    /// What the server said about its age (`Last-Modified`).
    pub last_modified: Option<String>,
}

impl Store {
    /// Returns the folder of fetched files with that key, if it is there.
    pub fn source_folder(&self, key: &Digest) -> Option<PathBuf> {
        Some(self.source_path(key)).filter(|path| path.is_dir())
    }

    /// Publishes `content`, a folder below a [`crate::TempFolder`] of this store, under a key that
    /// says what is in it, and returns its new path. If somebody else was first theirs is kept and
    /// returned, and `content` stays where it is.
    pub fn publish_source(&self, content: &Path, key: &Digest) -> Result<PathBuf, StoreError> {
        folder::publish(content, self.source_path(key))
    }

    /// Returns what is known of the source with that key.
    pub fn source_record(&self, key: &Digest) -> Result<Option<SourceRecord>, StoreError> {
        self.read_record("source-records", key)
    }

    /// Keeps what is known of a source.
    pub fn put_source_record(&self, key: &Digest, record: &SourceRecord) -> Result<(), StoreError> {
        self.write_record("source-records", key, record)
    }

    fn source_path(&self, key: &Digest) -> PathBuf {
        self.root().join(SOURCES).join(self.boot()).join(key.hex())
    }
}
