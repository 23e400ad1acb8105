//! The space that the store takes up, and pruning.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use xbuild_model::StepRecord;

use crate::entries::{BLOBS, children, file_name, is_key, key_of};
use crate::image::{IMAGES, TAGS};
use crate::items::{Item, ItemKind};
use crate::leftover::Leftover;
use crate::usage::{Usage, usage};
use crate::{Store, StoreError, temp};

/// The folder, below the store's, of the records of steps that ran.
const LAST_SEEN: &str = "last-seen";

/// Pruning keeps this many bytes of [`LAST_SEEN`], so that later builds can say that results were
/// pruned. A typical record has 1 KiB, so this is enough for some thousand steps.
const KEPT_SEEN: u64 = 4 << 20;

/// The age of the oldest record that pruning keeps: after a month nobody asks what has changed.
const KEPT_SEEN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const KINDS: &[(&str, &str)] = &[
    ("blobs", BLOBS),
    ("layer records", "layers"),
    ("tree indexes", "indexes"),
    ("file hashes", "file-hashes"),
    ("selections", "selections"),
    ("cached steps", "cache"),
    ("steps last seen", LAST_SEEN),
    ("images", IMAGES),
    ("tags last seen", TAGS),
    ("source records", "source-records"),
];

impl Store {
    /// Returns the space that each kind of content takes up. Files that this user cannot read count
    /// as 0.
    pub fn usage(&self) -> Vec<Usage> {
        let mut list: Vec<Usage> = KINDS
            .iter()
            .map(|(kind, folder)| usage(kind, children(&self.root().join(folder))))
            .collect();
        list.push(usage("unpacked layers", self.folders()));
        list.push(usage("root folders", self.all_roots()));
        list.push(usage("cache mounts", self.cache_mount_homes()));
        list.push(usage("fetched sources", self.sources()));
        list.push(self.emulator_usage());
        list
    }

    /// Returns the cached steps with the time of their last use, the newest first.
    pub fn cached_steps(&self) -> Vec<(StepRecord, SystemTime)> {
        let mut steps: Vec<_> = children(&self.root().join("cache"))
            .into_iter()
            .filter_map(|path| {
                let used = fs::metadata(&path).and_then(|meta| meta.modified()).ok()?;
                Some((self.step_at(&path)?, used))
            })
            .collect();
        steps.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        steps
    }

    /// Returns folders of killed builds that [`Store::open`] could not remove.
    pub fn leftovers(&self) -> Vec<Leftover> {
        let moved = temp::abandoned(self.root()).into_iter().filter_map(|found| {
            let path = self.temp_path("abandoned");
            // Another process may have moved it first.
            fs::rename(&found.path, &path).ok()?;
            Some(Leftover { path, is_plain: false })
        });
        moved.collect()
    }

    /// Removes everything that no image in the store refers to, and the folders of cache mounts;
    /// with `all` the images as well. What another open store uses stays, and so do installed emulators;
    /// without `all` the newest records of steps that ran stay, too. Returns the folders to remove from
    /// inside a user namespace, already moved out of the way.
    ///
    /// **Errors** — those of [`Store::make_room`].
    pub fn prune(&self, all: bool) -> Result<Vec<Leftover>, StoreError> {
        let mut total = self.own_total()?;
        self.settle()?;
        // It is of what was there.
        total.forget();
        let (gone, mut leftovers) = self.remove_items(self.all_items(all), !all)?;
        drop(gone);
        // All files of sources are ours; a folder that cannot be removed all the same is a leftover.
        leftovers
            .retain(|leftover| !leftover.is_plain || fs::remove_dir_all(&leftover.path).is_err());
        self.remove_pull_locks();
        // Whoever removes what a killed build has left makes the total unknown.
        drop(total);
        leftovers.extend(self.leftovers());
        Ok(leftovers)
    }

    /// Returns an item for each entry that goes when everything goes; with `all` the names of images, too.
    fn all_items(&self, all: bool) -> Vec<Item> {
        let seen = if all { HashSet::new() } else { self.recently_seen() };
        let mut items = Vec::new();
        // The records of steps go before their layers, these before their blobs.
        for (_, folder) in KINDS.iter().rev() {
            if *folder == IMAGES && !all {
                continue;
            }
            for path in children(&self.root().join(folder)) {
                if !is_key(&file_name(&path)) || seen.contains(&path) {
                    continue;
                }
                let keys = match *folder {
                    BLOBS | "layers" | "indexes" => vec![key_of(&path)],
                    // That of a running build stays with its layers.
                    "cache" => self.layers_of(&path),
                    _ => Vec::new(),
                };
                let mut item = Item::new(ItemKind::Remembered, file_name(&path));
                (item.keys, item.files) = (keys, vec![path]);
                items.push(item);
            }
        }
        let folders = [
            (ItemKind::Layer, self.folders()),
            (ItemKind::RootFolder, self.all_roots()),
            (ItemKind::CacheMount, self.cache_mount_homes()),
            (ItemKind::Source, self.sources()),
        ];
        for (kind, folders) in folders {
            for path in folders {
                let mut item = Item::new(kind, self.below_root(&path));
                if kind != ItemKind::RootFolder {
                    item.keys.push(key_of(&path));
                }
                item.folders.push(path);
                items.push(item);
            }
        }
        items
    }

    fn layers_of(&self, step: &Path) -> Vec<String> {
        let step = self.step_at(step);
        step.map(|step| step.added.0.iter().map(|layer| layer.0.hex()).collect())
            .unwrap_or_default()
    }

    /// Returns the files of [`LAST_SEEN`] that pruning keeps: the newest.
    fn recently_seen(&self) -> HashSet<PathBuf> {
        let oldest = SystemTime::now().checked_sub(KEPT_SEEN_FOR);
        let files = children(&self.root().join(LAST_SEEN)).into_iter().filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            Some((meta.modified().ok()?, meta.len(), path))
        });
        let mut files: Vec<_> = files.filter(|(time, ..)| Some(*time) >= oldest).collect();
        files.sort_by_key(|(time, ..)| std::cmp::Reverse(*time));
        let mut left = KEPT_SEEN;
        let fitting = files.into_iter().take_while(|(_, size, _)| {
            let rest = left.checked_sub(*size);
            left = rest.unwrap_or_default();
            rest.is_some()
        });
        fitting.map(|(.., path)| path).collect()
    }
}
