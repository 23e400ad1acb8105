//! Files that were fetched from web servers and git repositories.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xbuild_model::Digest;

use crate::boot::SOURCES;
use crate::usage::usage;
use crate::{Store, StoreError, folder};

/// A source that was fetched before: its files, and the server's words about their version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The key of the folder with the files.
    pub folder: Digest,
    /// The server's `ETag` of this version.
    pub etag: Option<String>,
    /// The server's `Last-Modified` of this version.
    pub last_modified: Option<String>,
    /// Whether no other version can have that date.
    pub settled: bool,
    /// A hash of the URL that the files came from, without its query.
    pub url: Option<Digest>,
    /// A hash of the query of that URL.
    pub query: Option<Digest>,
}

impl Store {
    /// Returns the folder of fetched files with this key, if it exists.
    pub fn source_folder(&self, key: &Digest) -> Option<PathBuf> {
        // Whoever cannot pin it fetches it again, and is told then.
        self.pin(key).ok()?;
        Some(self.source_path(key)).filter(|path| path.is_dir())
    }

    /// Publishes `content`, a folder below a [`crate::TempFolder`] of this store, under a key that
    /// stands for its contents, and returns its new path. If another build was first, returns the
    /// path of its folder and leaves `content` where it is.
    pub fn publish_source(&self, content: &Path, key: &Digest) -> Result<PathBuf, StoreError> {
        self.pin(key)?;
        self.growth().add(usage("", vec![content.to_owned()]).bytes);
        folder::publish(content, self.source_path(key))
    }

    /// Returns the record of the source with this key.
    pub fn source_record(&self, key: &Digest) -> Result<Option<SourceRecord>, StoreError> {
        self.read_record("source-records", key)
    }

    /// Records a source that was fetched.
    pub fn put_source_record(&self, key: &Digest, record: &SourceRecord) -> Result<(), StoreError> {
        self.write_record("source-records", key, record)
    }

    fn source_path(&self, key: &Digest) -> PathBuf {
        self.root().join(SOURCES).join(self.boot()).join(key.hex())
    }
}
