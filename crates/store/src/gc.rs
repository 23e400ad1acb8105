//! The space that the store takes up, and pruning.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;
use xbuild_model::StepRecord;

use crate::entries::{children, file_name, is_key};
use crate::home::MEASURED;
use crate::image::{IMAGES, TAGS};
use crate::usage::{Usage, usage};
use crate::{Store, StoreError, temp};

/// A folder whose files may belong to ids of a user namespace: the plain user cannot remove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The path of the folder.
    pub path: PathBuf,
}

/// The folder, below the store's, of the records of steps that ran.
const LAST_SEEN: &str = "last-seen";

/// Pruning keeps this many bytes of [`LAST_SEEN`], so that later builds can say that results were
/// pruned. A typical record has 1 KiB, so this is enough for some thousand steps.
const KEPT_SEEN: u64 = 4 << 20;

/// The age of the oldest record that pruning keeps: after a month nobody asks what has changed.
const KEPT_SEEN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

const KINDS: &[(&str, &str)] = &[
    ("blobs", "blobs/sha256"),
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
        let moved = temp::abandoned(&self.root().join("tmp")).into_iter().filter_map(|found| {
            let path = self.temp_path("abandoned");
            // Another process may have moved it first.
            fs::rename(&found.path, &path).ok()?;
            Some(Leftover { path })
        });
        moved.collect()
    }

    /// Removes everything that no image in the store refers to, and the folders of cache mounts;
    /// with `all` the images as well. Installed emulators stay. Without `all` the newest records of steps that ran stay.
    /// Returns the folders to remove from inside a user namespace, already moved out of the way.
    ///
    /// **Errors** — [`StoreError::Busy`] if another build has the store open; nothing is removed.
    pub fn prune(&self, all: bool) -> Result<Vec<Leftover>, StoreError> {
        let busy = || StoreError::Busy { path: self.root().to_owned() };
        rustix::fs::flock(self.lock_file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| busy())?;
        self.settle()?;
        let kept = if all { HashSet::new() } else { self.reachable() };
        let seen = if all { HashSet::new() } else { self.recently_seen() };
        for (_, folder) in KINDS {
            for path in children(&self.root().join(folder)) {
                let keep = match *folder {
                    IMAGES => !all,
                    "blobs/sha256" => kept.contains(&file_name(&path)),
                    LAST_SEEN => seen.contains(&path),
                    _ => false,
                };
                if !keep && is_key(&file_name(&path)) {
                    fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
                }
            }
        }
        let mut leftovers = Vec::new();
        let shared = self.folders().into_iter().chain(self.all_roots());
        for folder in shared.chain(self.cache_mount_homes()) {
            let path = self.temp_path("pruned");
            fs::rename(&folder, &path).map_err(StoreError::io("move", &folder))?;
            leftovers.push(Leftover { path });
        }
        for folder in self.sources() {
            let path = self.temp_path("pruned");
            fs::rename(&folder, &path).map_err(StoreError::io("move", &folder))?;
            // All files in it are ours; a folder that cannot be removed all the same is a leftover.
            if fs::remove_dir_all(&path).is_err() {
                leftovers.push(Leftover { path });
            }
        }
        // The measure is of what was there.
        let _ = fs::remove_file(self.root().join(MEASURED));
        self.remove_pull_locks();
        leftovers.extend(self.leftovers());
        rustix::fs::flock(self.lock_file(), FlockOperation::LockShared).map_err(|_| busy())?;
        Ok(leftovers)
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
