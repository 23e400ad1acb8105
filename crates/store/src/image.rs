//! Images: names, what they stand for, and where blobs are that the store does not have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use xbuild_model::{BlobSource, Descriptor, Digest};

use crate::entries::all_children;
use crate::{Store, StoreError};

/// The folder, below the store's, of the images.
pub(crate) const IMAGES: &str = "images";
/// The folder, below the store's, of what tags named when a registry was last asked.
pub(crate) const TAGS: &str = "tags";

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Its full name with tag.
    pub name: String,
    /// Its manifest or index.
    pub target: Descriptor,
    /// Who decides what the name stands for.
    #[serde(default)]
    pub owner: NameOwner,
    /// Where everything is that the store does not have, unless `layers` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<BlobSource>,
    /// Where single layers are, by the digests of their blobs: those of base images.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub layers: BTreeMap<Digest, BlobSource>,
}

/// Who decides what a name stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameOwner {
    /// The store: a build, a load or the user gave the name.
    #[default]
    Store,
    /// The registry: the image was pulled, or pushed, under this name.
    Registry,
}

impl ImageRecord {
    /// Returns an image whose name the store decides, and whose blobs are all in the store.
    pub fn new(name: String, target: Descriptor) -> Self {
        let owner = NameOwner::Store;
        Self { name, target, owner, origin: None, layers: BTreeMap::new() }
    }

    /// Returns another place that has a blob of the image, if one is known.
    pub fn origin_of(&self, blob: &Digest) -> Option<&BlobSource> {
        self.layers.get(blob).or(self.origin.as_ref())
    }
}

impl Store {
    /// Records an image under its name, in place of an earlier image of that name.
    pub fn put_image(&self, record: &ImageRecord) -> Result<(), StoreError> {
        self.pin(&record.target.digest)?;
        self.write_record(IMAGES, &Digest::of(record.name.as_bytes()), record)
    }

    /// Returns the image with this name. As long as this store is open, nothing of it is removed.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>, StoreError> {
        self.pinned_record(IMAGES, name)
    }

    /// Reads the record of an image, and pins the image.
    fn pinned_record(&self, kind: &str, name: &str) -> Result<Option<ImageRecord>, StoreError> {
        let key = Digest::of(name.as_bytes());
        loop {
            let Some(found) = self.read_record::<ImageRecord>(kind, &key)? else { return Ok(None) };
            self.pin(&found.target.digest)?;
            // Another process may have removed or replaced it between the two.
            if self.read_record(kind, &key)?.as_ref() == Some(&found) {
                return Ok(Some(found));
            }
        }
    }

    /// Returns all images with the times when they got their names, sorted by name. Damaged records count
    /// as missing.
    ///
    /// **Errors** — a record cannot be read.
    pub fn images(&self) -> Result<Vec<(ImageRecord, SystemTime)>, StoreError> {
        let mut images = Vec::new();
        for path in all_children(&self.root().join(IMAGES))? {
            // It may just have been removed.
            let image = self.read_record_at::<ImageRecord>(&path)?;
            let named = fs::metadata(&path).and_then(|meta| meta.modified());
            images.extend(image.zip(named.ok()));
        }
        images.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        Ok(images)
    }

    /// Forgets the image of a name. Its contents stay until the store is pruned. Returns whether
    /// there was one.
    pub fn remove_image(&self, name: &str) -> Result<bool, StoreError> {
        let path = self.path(IMAGES, &Digest::of(name.as_bytes()));
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", path)(error)),
        }
    }

    /// Remembers what a tag named when its registry was asked.
    pub fn put_tag(&self, record: &ImageRecord) -> Result<(), StoreError> {
        if self.tag(&record.name)?.as_ref() == Some(record) {
            return Ok(());
        }
        self.write_record(TAGS, &Digest::of(record.name.as_bytes()), record)
    }

    /// Returns what a tag named when its registry was last asked.
    pub fn tag(&self, name: &str) -> Result<Option<ImageRecord>, StoreError> {
        self.pinned_record(TAGS, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_older_build_is_read() {
        let digest = Digest::of(b"x");
        let text = format!(
            r#"{{"name":"r.example/a:1","target":{{"mediaType":"m","digest":"{digest}","size":1}}}}"#
        );
        let record: ImageRecord = serde_json::from_str(&text).unwrap();
        assert_eq!((record.owner, &record.origin), (NameOwner::Store, &None));
        assert_eq!(record.origin_of(&digest), None);
    }

    #[test]
    fn images_have_names_until_they_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let origin =
            BlobSource::Registry { registry: "r.example".into(), repository: "base".into() };
        let layer = Digest::of(b"layer");
        let record = |name: &str| ImageRecord {
            name: name.to_owned(),
            target: Descriptor::of("m", name.as_bytes()),
            owner: NameOwner::Registry,
            origin: None,
            layers: [(layer.clone(), origin.clone())].into(),
        };
        for name in ["b:1", "a:1"] {
            store.put_image(&record(name)).unwrap();
        }
        let names = || -> Vec<_> {
            store.images().unwrap().into_iter().map(|(image, _)| image.name).collect()
        };
        assert_eq!(names(), ["a:1", "b:1"]);
        let found = store.image("b:1").unwrap().unwrap();
        assert_eq!(found, record("b:1"));
        assert_eq!(found.origin_of(&layer), Some(&origin));
        assert!(store.remove_image("b:1").unwrap() && !store.remove_image("b:1").unwrap());
        assert_eq!(names(), ["a:1"]);
        store.put_tag(&record("t")).unwrap();
        assert_eq!(store.tag("t").unwrap(), Some(record("t")));
        store.prune(false).unwrap();
        assert_eq!((store.tag("t").unwrap(), names()), (None, vec!["a:1".to_owned()]));
    }
}
