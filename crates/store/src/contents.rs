//! The entries of the store's folders that several kinds of content have, and what images need.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use xbuild_model::{Descriptor, Digest, StepRecord};

use crate::entries::{children, file_name, is_key, key_of};
use crate::pins::Pinned;
use crate::{Store, boot, record};

/// The folders of what is remembered of build contexts.
pub(crate) const REMEMBERED: &[&str] = &["file-hashes", "selections"];

impl Store {
    /// Returns the record of a step in a file; `None` if it is damaged.
    pub(crate) fn step_at(&self, path: &Path) -> Option<StepRecord> {
        let bytes = record::unseal(fs::read(path).ok()?)?;
        serde_json::from_slice(&bytes).ok()
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
    pub(crate) fn named(&self) -> HashSet<String> {
        self.reachable(self.images().into_iter().map(|(image, _)| image.target.digest))
    }

    /// Returns what is in use if this is pinned: the blobs of pinned layers, and all that pinned manifests
    /// and indexes refer to, too.
    pub(crate) fn in_use(&self, pinned: &Pinned) -> Pinned {
        match pinned {
            Pinned::Everything => Pinned::Everything,
            Pinned::Keys(keys) => {
                let layers = children(&self.root().join("layers")).into_iter();
                let pinned = layers.filter(|record| keys.contains(&key_of(record)));
                let blobs = pinned.flat_map(|record| self.blobs_of(&record));
                let keys = keys.iter().cloned().chain(blobs);
                let digests = keys.filter_map(|key| format!("sha256:{key}").parse().ok());
                Pinned::Keys(self.reachable(digests))
            }
        }
    }

    /// Returns these digests and all that the manifests and indexes among their blobs refer to.
    pub(crate) fn reachable(&self, from: impl Iterator<Item = Digest>) -> HashSet<String> {
        let mut found = HashSet::new();
        let mut queue: Vec<Digest> = from.collect();
        while let Some(digest) = queue.pop() {
            if found.insert(digest.hex()) {
                queue.extend(self.references(&digest));
            }
        }
        found
    }

    /// Returns the names of the blobs that a record of a layer names.
    pub(crate) fn blobs_of(&self, record: &Path) -> Vec<String> {
        let bytes = fs::read(record).ok().and_then(record::unseal).unwrap_or_default();
        let blob = serde_json::from_slice::<xbuild_model::Descriptor>(&bytes).ok();
        blob.map(|blob| blob.digest.hex()).into_iter().filter(|name| is_key(name)).collect()
    }

    /// Returns the digests that a manifest or index refers to; none for any other blob.
    fn references(&self, digest: &Digest) -> Vec<Digest> {
        #[derive(serde::Deserialize)]
        struct Document {
            config: Option<Descriptor>,
            #[serde(default)]
            layers: Vec<Descriptor>,
            #[serde(default)]
            manifests: Vec<Descriptor>,
        }
        /// Manifests are small: anything larger is a layer.
        const MAX_MANIFEST: u64 = 4 << 20;
        let path = self.blob_path(digest);
        if fs::metadata(&path).map_or(true, |meta| meta.len() > MAX_MANIFEST) {
            return Vec::new();
        }
        let document =
            fs::read(&path).ok().and_then(|b| serde_json::from_slice::<Document>(&b).ok());
        document.map_or_else(Vec::new, |d| {
            d.config.into_iter().chain(d.layers).chain(d.manifests).map(|d| d.digest).collect()
        })
    }
}
