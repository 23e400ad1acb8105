//! The entries of the store's folders that several kinds of content have, and what images need.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xbuild_model::{Descriptor, Digest, StepRecord};

use crate::entries::{all_children, children, file_name, is_key, key_of};
use crate::pins::Pinned;
use crate::{Store, StoreError, boot};

/// The folders of what is remembered of build contexts.
pub(crate) const REMEMBERED: &[&str] = &["file-hashes", "selections"];

impl Store {
    /// Returns the record of a step in a file; `None` if it is damaged.
    pub(crate) fn step_at(&self, path: &Path) -> Option<StepRecord> {
        self.read_record_at(path).ok().flatten()
    }

    /// Returns all unpacked layers.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let boots = children(&self.root().join(boot::FOLDERS));
        let maps = boots.iter().flat_map(|boot| children(boot));
        maps.flat_map(|map| children(&map)).filter(|path| is_key(&file_name(path))).collect()
    }

    /// Returns all fetched sources.
    pub(crate) fn sources(&self) -> Vec<PathBuf> {
        let boots = children(&self.root().join(boot::SOURCES));
        let folders = boots.iter().flat_map(|boot| children(boot));
        folders.filter(|path| is_key(&file_name(path))).collect()
    }

    /// Returns the names (hexadecimal digests) of the blobs that named images need.
    ///
    /// **Errors** — something that may name further ones cannot be read.
    pub(crate) fn named(&self) -> Result<HashSet<String>, StoreError> {
        self.reachable(self.images()?.into_iter().map(|(image, _)| image.target.digest))
    }

    /// Returns what is in use if this is pinned: the blobs of pinned layers, and all that pinned manifests
    /// and indexes refer to, too.
    ///
    /// **Errors** — as those of [`named`](Self::named).
    pub(crate) fn in_use(&self, pinned: &Pinned) -> Result<Pinned, StoreError> {
        let Pinned::Keys(keys) = pinned else { return Ok(Pinned::Everything) };
        let mut all: Vec<String> = keys.iter().cloned().collect();
        for record in all_children(&self.root().join("layers"))? {
            if keys.contains(&key_of(&record)) {
                all.extend(self.blob_in(&record)?);
            }
        }
        let digests = all.into_iter().filter_map(|key| format!("sha256:{key}").parse().ok());
        self.reachable(digests).map(Pinned::Keys)
    }

    /// Returns these digests and all that the manifests and indexes among their blobs refer to.
    fn reachable(&self, from: impl Iterator<Item = Digest>) -> Result<HashSet<String>, StoreError> {
        let mut found = HashSet::new();
        let mut queue: Vec<Digest> = from.collect();
        while let Some(digest) = queue.pop() {
            if found.insert(digest.hex()) {
                queue.extend(self.references(&digest)?);
            }
        }
        Ok(found)
    }

    /// Returns the name of the blob that a record of a layer names.
    pub(crate) fn blob_of(&self, record: &Path) -> Option<String> {
        self.blob_in(record).ok().flatten()
    }

    fn blob_in(&self, record: &Path) -> Result<Option<String>, StoreError> {
        let blob = self.read_record_at::<Descriptor>(record)?;
        Ok(blob.map(|blob| blob.digest.hex()).filter(|name| is_key(name)))
    }

    /// Returns the digests that a manifest or index refers to; none for any other blob. Entries that cannot
    /// be read spoil no others, as for readers of images.
    fn references(&self, digest: &Digest) -> Result<Vec<Digest>, StoreError> {
        /// Manifests are small: anything larger is a layer.
        const MAX_MANIFEST: u64 = 4 << 20;
        let path = self.blob_path(digest);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() > MAX_MANIFEST) {
            return Ok(Vec::new());
        }
        let Some(bytes) = self.read_file(&path)? else { return Ok(Vec::new()) };
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { return Ok(Vec::new()) };
        let lists = ["layers", "manifests"].map(|name| document[name].as_array());
        let entries = lists.into_iter().flatten().flatten().chain([&document["config"]]);
        Ok(entries.filter_map(|entry| entry["digest"].as_str()?.parse().ok()).collect())
    }
}
