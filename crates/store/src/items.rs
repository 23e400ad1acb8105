//! The contents of the store, item by item: what can be removed for itself, and when it was last used.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::FlockOperation;

use crate::contents::REMEMBERED;
use crate::entries::{BLOBS, children, file_name, key_of};
use crate::measured::{PATIENCE, Total};
use crate::usage::usage;
use crate::{Store, StoreError};

/// A blob of fewer bytes that belongs to no layer is a document: a manifest or a configuration. Offline
/// builds need them, and they take up next to nothing.
const DOCUMENT: u64 = 1 << 20;

/// The kind of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ItemKind {
    /// A layer: its blobs, tree index and unpacked folders, and the cached steps that made it.
    Layer,
    /// A blob of no layer.
    Blob,
    /// The folder of a cache mount.
    CacheMount,
    /// A folder with the files of an image.
    RootFolder,
    /// A file or repository that was fetched.
    Source,
    /// Hashes of the files of a build context, or what a COPY selected.
    Remembered,
}

impl ItemKind {
    /// Returns the kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Blob => "blob",
            Self::CacheMount => "cache mount",
            Self::RootFolder => "root folder",
            Self::Source => "fetched source",
            Self::Remembered => "file hashes",
        }
    }
}

/// Something that can be removed without anything else becoming wrong: a build that needs it makes or
/// fetches it again.
#[derive(Debug, Clone)]
pub struct Item {
    /// The kind.
    pub kind: ItemKind,
    /// A name for people: the step that made a layer, the name of a cache mount, or a key.
    pub name: String,
    /// The digest or key, or the path in the store.
    pub id: String,
    /// Bytes on disk, without blobs that named images have.
    pub bytes: u64,
    /// When it was last used, as far as that is known.
    pub last_used: Option<SystemTime>,
    /// Whether it was the result of a step.
    pub is_cached_step: bool,
    /// Whether a running build uses it.
    pub is_pinned: bool,
    /// The digests that stand for it, as hexadecimal digits: it is pinned if one of them is.
    pub(crate) keys: Vec<String>,
    /// The files and folders whose times say when it was last used.
    pub(crate) marks: Vec<PathBuf>,
    /// The files.
    pub(crate) files: Vec<PathBuf>,
    /// The folders, whose files may belong to other ids.
    pub(crate) folders: Vec<PathBuf>,
}

impl Item {
    pub(crate) fn new(kind: ItemKind, id: String) -> Self {
        Self {
            kind,
            name: id.clone(),
            id,
            bytes: 0,
            last_used: None,
            is_cached_step: false,
            is_pinned: false,
            keys: Vec::new(),
            marks: Vec::new(),
            files: Vec::new(),
            folders: Vec::new(),
        }
    }

    /// Adds a file that counts for the time of the last use if `is_used` says so.
    fn file(&mut self, path: PathBuf, is_used: bool) {
        let Ok(meta) = fs::symlink_metadata(&path) else { return };
        self.bytes += meta.blocks() * 512;
        if is_used {
            self.last_used = self.last_used.max(meta.modified().ok());
            self.marks.push(path.clone());
        }
        self.files.push(path);
    }

    fn folder(&mut self, path: PathBuf) {
        self.bytes += usage("", vec![path.clone()]).bytes;
        self.folders.push(path);
    }

    /// Returns its blobs.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Path> {
        let is_blob = |path: &&Path| path.parent().is_some_and(|parent| parent.ends_with(BLOBS));
        self.files.iter().map(PathBuf::as_path).filter(is_blob)
    }
}

impl Store {
    /// Returns all items, those that were not used for longest first. Installed emulators, the blobs of
    /// named images, manifests and configurations are none.
    ///
    /// **Errors** — something that says what images and builds need cannot be read.
    pub fn items(&self) -> Result<Vec<Item>, StoreError> {
        // Meanwhile no build ends and nothing is removed. Where that takes too long, the answer may
        // count twice what changes.
        let total = Total::lock(self.root(), FlockOperation::NonBlockingLockShared, PATIENCE);
        let items = self.items_beside();
        drop(total);
        items
    }

    /// Returns the bytes of the blobs that named images have here.
    ///
    /// **Errors** — as those of [`items`](Self::items).
    pub fn named_bytes(&self) -> Result<u64, StoreError> {
        let paths = self.named()?.into_iter().map(|name| self.root().join(BLOBS).join(name));
        let sizes = paths.filter_map(|path| fs::symlink_metadata(path).ok());
        Ok(sizes.map(|meta| meta.blocks() * 512).sum())
    }

    /// Returns all items while the total is locked.
    pub(crate) fn items_beside(&self) -> Result<Vec<Item>, StoreError> {
        let mut items = self.unmarked_items()?;
        // After the look at the files: what has come meanwhile is pinned by who made it.
        let used = self.in_use(&self.pins().of_others())?;
        for item in &mut items {
            item.is_pinned = used.has(&item.keys);
        }
        Ok(items)
    }

    fn unmarked_items(&self) -> Result<Vec<Item>, StoreError> {
        let kept = self.named()?;
        let mut items = self.layer_items(&kept);
        let of_layers: HashSet<PathBuf> =
            items.iter().flat_map(|item| item.files.iter().cloned()).collect();
        for path in children(&self.root().join(BLOBS)) {
            let is_large = fs::metadata(&path).is_ok_and(|meta| meta.len() >= DOCUMENT);
            if is_large && !kept.contains(&file_name(&path)) && !of_layers.contains(&path) {
                let mut item = Item::new(ItemKind::Blob, file_name(&path));
                item.keys.push(file_name(&path));
                item.file(path, true);
                items.push(item);
            }
        }
        for mount in self.cache_mounts() {
            let mut item = Item::new(ItemKind::CacheMount, self.below_root(&mount.home));
            (item.name, item.bytes, item.last_used) = (mount.id, mount.bytes, mount.last_used);
            item.keys.push(key_of(&mount.home));
            item.marks.push(mount.lock);
            item.folders.push(mount.home);
            items.push(item);
        }
        for (kind, folders) in
            [(ItemKind::RootFolder, self.all_roots()), (ItemKind::Source, self.sources())]
        {
            for path in folders {
                let mut item = Item::new(kind, self.below_root(&path));
                item.last_used = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
                item.marks.push(path.clone());
                if kind == ItemKind::Source {
                    item.keys.push(key_of(&path));
                }
                item.folder(path);
                items.push(item);
            }
        }
        for path in REMEMBERED.iter().flat_map(|folder| children(&self.root().join(folder))) {
            let mut item = Item::new(ItemKind::Remembered, self.below_root(&path));
            item.file(path, true);
            items.push(item);
        }
        items.sort_by(|a, b| (a.last_used, a.kind, &a.id).cmp(&(b.last_used, b.kind, &b.id)));
        Ok(items)
    }

    /// Returns an item for each layer. Blobs of `kept` belong to images.
    fn layer_items(&self, kept: &HashSet<String>) -> Vec<Item> {
        let mut layers: HashMap<String, Item> = HashMap::new();
        let mut item = |name: &str, change: &mut dyn FnMut(&mut Item)| {
            let id = key_of(Path::new(name));
            change(layers.entry(id.clone()).or_insert_with(|| {
                let keys = vec![id.clone()];
                Item { keys, ..Item::new(ItemKind::Layer, id) }
            }));
        };
        for path in children(&self.root().join("layers")) {
            item(&file_name(&path), &mut |item| {
                if let Some(blob) = self.blob_of(&path) {
                    item.keys.push(blob.clone());
                    let is_kept = kept.contains(&blob);
                    let path = self.root().join(BLOBS).join(blob);
                    if !is_kept && !item.files.contains(&path) {
                        item.file(path, false);
                    }
                }
                item.file(path.clone(), true);
            });
        }
        for path in children(&self.root().join("indexes")) {
            item(&file_name(&path), &mut |item| item.file(path.clone(), false));
        }
        for path in self.folders() {
            item(&file_name(&path), &mut |item| item.folder(path.clone()));
        }
        for path in children(&self.root().join("cache")) {
            let Some(step) = self.step_at(&path) else { continue };
            for layer in &step.added.0 {
                item(&layer.0.hex(), &mut |item| {
                    item.name.clone_from(&step.description);
                    item.is_cached_step = true;
                    item.file(path.clone(), true);
                });
            }
        }
        layers.into_values().collect()
    }

    pub(crate) fn below_root(&self, path: &Path) -> String {
        path.strip_prefix(self.root()).unwrap_or(path).display().to_string()
    }
}
