//! Folders that steps keep between builds (RUN `--mount=type=cache`).
//!
//! Their form on disk is in `docs/formats.md`, § Cache mounts. A folder appears complete, by rename.
//! The leftovers of a step that was killed stay in it: the next step that uses it deals with them.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use xbuild_model::Digest;
use xbuild_model::run::Sharing;

use crate::entries::{CACHE_CONTENT, CACHE_MOUNTS, children, file_name, is_key};
use crate::folder::rename_new;
use crate::gate::Gate;
use crate::lent;
use crate::usage::usage;
use crate::{Store, StoreError};

/// The folder below the store's.
pub(crate) const FOLDER: &str = CACHE_MOUNTS;
const CONTENT: &str = CACHE_CONTENT;
const ID: &str = "id";
const LOCK: &str = "lock";

/// The most bytes of a name that are shown.
const MAX_ID: usize = 200;

/// A cache folder in use. Dropping it releases the folder.
#[derive(Debug)]
pub struct CacheMount {
    path: PathBuf,
    _lock: Gate,
}

impl CacheMount {
    /// Returns the path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns its bytes on disk, as far as this user may read.
    pub fn bytes(&self) -> u64 {
        usage("", vec![self.path.clone()]).bytes
    }
}

/// The answer to a request for a cache folder.
#[derive(Debug)]
pub enum CacheMountSlot {
    /// The folder exists and is held.
    Held(CacheMount),
    /// No folder may be used: the caller makes the one with this number.
    Missing(u32),
}

/// A cache folder as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheMountInfo {
    /// Its name, not unique.
    pub id: String,
    /// Bytes on disk, as far as this user may read.
    pub bytes: u64,
    /// When a step last began to use it.
    pub last_used: Option<SystemTime>,
    /// Its folder in the store.
    pub(crate) home: PathBuf,
    /// The file whose time says when it was last used.
    pub(crate) lock: PathBuf,
}

impl Store {
    /// Holds the cache folder `key` of the id map `map`. Waits while another step holds it in a way
    /// that excludes this one; private use takes the first free folder instead.
    pub fn hold_cache_mount(
        &self,
        map: &str,
        key: &Digest,
        sharing: Sharing,
    ) -> Result<CacheMountSlot, StoreError> {
        self.pin(key)?;
        for number in 0.. {
            let home = self.cache_mount_home(map, key, number);
            if !self.has_cache_mount(map, key, number)? {
                return Ok(CacheMountSlot::Missing(number));
            }
            let path = home.join(LOCK);
            let mut options = OpenOptions::new();
            // For reading as well: NFS shares the lock of readers only.
            let lock = options.create(true).read(true).append(true).mode(0o600).open(&path);
            let lock = lock.map_err(StoreError::io("open", &path))?;
            let operation = match sharing {
                Sharing::Shared => FlockOperation::LockShared,
                Sharing::Locked => FlockOperation::LockExclusive,
                Sharing::Private => FlockOperation::NonBlockingLockExclusive,
            };
            // Another step of this build is no news.
            let lock = self.lock.of_others(lock, path);
            match lock.lock(operation) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                locked => locked.map_err(StoreError::io("lock", lock.path()))?,
            }
            // Only `xbuild du` shows the time, so a failure does not matter.
            let _ = lock.file().set_modified(SystemTime::now());
            self.growth().mount(lock.path());
            return Ok(CacheMountSlot::Held(CacheMount { path: home.join(CONTENT), _lock: lock }));
        }
        // No build has that many steps.
        Ok(CacheMountSlot::Missing(u32::MAX))
    }

    /// Holds the cache folder `key` alone, unless somebody else holds it.
    pub fn take_cache_mount(
        &self,
        map: &str,
        key: &Digest,
    ) -> Result<Option<CacheMount>, StoreError> {
        let own = self.cache_mount_home(map, key, 0).join(CONTENT);
        Ok(match self.hold_cache_mount(map, key, Sharing::Private)? {
            CacheMountSlot::Held(mount) if mount.path == own => Some(mount),
            _ => None,
        })
    }

    /// Takes back the cache folders below `place` that were lent to steps of builds that were killed.
    pub fn take_back_caches(&self, place: &Path) {
        lent::take_back(self.root(), place);
    }

    /// Returns whether this cache folder exists.
    pub fn has_cache_mount(
        &self,
        map: &str,
        key: &Digest,
        number: u32,
    ) -> Result<bool, StoreError> {
        self.pin(key)?;
        let home = self.cache_mount_home(map, key, number);
        if !home.exists() {
            return Ok(false);
        }
        // Folders appear complete, so only a power cut can have taken the content.
        if !home.join(CONTENT).is_dir() {
            self.clear_away_half(&home)?;
        }
        Ok(home.exists())
    }

    /// Moves a cache folder without content out of the way.
    fn clear_away_half(&self, home: &Path) -> Result<(), StoreError> {
        // One process at a time: another one may publish a whole folder in its place.
        let map = home.parent().unwrap_or(home);
        let lock = File::open(map).map_err(StoreError::io("open", map))?;
        retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
            .map_err(|errno| StoreError::io("lock", map)(errno.into()))?;
        if home.exists() && !home.join(CONTENT).is_dir() {
            fs::rename(home, self.temp_path("stale")).map_err(StoreError::io("move", home))?;
        }
        Ok(())
    }

    /// Publishes `home`, a [`crate::TempFolder`] of this store with a folder `fs` in it, as a cache
    /// folder. If another build was first, keeps its folder and leaves `home` where it is.
    pub fn publish_cache_mount(
        &self,
        home: &Path,
        map: &str,
        key: &Digest,
        number: u32,
        id: &str,
    ) -> Result<(), StoreError> {
        self.pin(key)?;
        let target = self.cache_mount_home(map, key, number);
        let parent = target.parent().unwrap_or(&target);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(parent)
            .map_err(StoreError::io("make folder", parent))?;
        let name = home.join(ID);
        fs::write(&name, id).map_err(StoreError::io("write", &name))?;
        match rename_new(home, &target) {
            Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(()),
            Err(errno) => Err(StoreError::io("publish", target)(errno.into())),
        }
    }

    /// Returns the cache folders, the last used first.
    pub fn cache_mounts(&self) -> Vec<CacheMountInfo> {
        let mut list: Vec<_> = self.cache_mount_homes().iter().map(|home| info(home)).collect();
        list.sort_by_key(|mount| std::cmp::Reverse(mount.last_used));
        list
    }

    /// Returns the paths of all cache folders.
    pub(crate) fn cache_mount_homes(&self) -> Vec<PathBuf> {
        let maps = children(&self.root().join(FOLDER));
        let homes = maps.iter().flat_map(|map| children(map));
        homes.filter(|home| is_key(&file_name(home))).collect()
    }

    fn cache_mount_home(&self, map: &str, key: &Digest, number: u32) -> PathBuf {
        self.root().join(FOLDER).join(map).join(format!("{}-{number}", key.hex()))
    }
}

fn info(home: &Path) -> CacheMountInfo {
    let name = fs::read(home.join(ID)).unwrap_or_default();
    CacheMountInfo {
        id: String::from_utf8_lossy(&name[..name.len().min(MAX_ID)]).into_owned(),
        bytes: usage("", vec![home.to_owned()]).bytes,
        last_used: fs::metadata(home.join(LOCK)).and_then(|meta| meta.modified()).ok(),
        home: home.to_owned(),
        lock: home.join(LOCK),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    fn publish(store: &Store, key: &Digest, number: u32, text: &str) {
        let temp = store.temp_dir("cache").unwrap();
        fs::create_dir(temp.path().join(CONTENT)).unwrap();
        fs::write(temp.path().join("fs/file"), text).unwrap();
        store.publish_cache_mount(temp.path(), "map", key, number, "name").unwrap();
    }

    fn hold(store: &Store, key: &Digest, sharing: Sharing) -> Result<CacheMount, u32> {
        match store.hold_cache_mount("map", key, sharing).unwrap() {
            CacheMountSlot::Held(mount) => Ok(mount),
            CacheMountSlot::Missing(number) => Err(number),
        }
    }

    #[test]
    fn is_shared_as_it_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        assert_eq!(hold(&store, &key, Sharing::Shared).unwrap_err(), 0);
        publish(&store, &key, 0, "first");
        publish(&store, &key, 0, "second");
        let one = hold(&store, &key, Sharing::Shared).unwrap();
        let two = hold(&store, &key, Sharing::Shared).unwrap();
        assert_eq!(fs::read_to_string(two.path().join("file")).unwrap(), "first");
        // Private use takes another folder; locked use waits for both holders.
        assert_eq!(hold(&store, &key, Sharing::Private).unwrap_err(), 1);
        publish(&store, &key, 1, "other");
        let private = hold(&store, &key, Sharing::Private).unwrap();
        assert_ne!(private.path(), one.path());
        let (tell, told) = mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let other = Store::open(folder.path()).unwrap();
                let locked = hold(&other, &key, Sharing::Locked).unwrap();
                tell.send(locked.path().to_owned()).unwrap();
            });
            drop(one);
            assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
            let path = two.path().to_owned();
            drop(two);
            assert_eq!(told.recv().unwrap(), path);
        });
    }

    #[test]
    fn is_listed_and_pruned() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        publish(&store, &key, 0, "text");
        drop(hold(&store, &key, Sharing::Private).unwrap());
        let listed = store.cache_mounts();
        assert_eq!((listed.len(), &*listed[0].id), (1, "name"));
        assert!(listed[0].bytes > 0 && listed[0].last_used.is_some());
        let count = |store: &Store| {
            let usage = store.usage();
            usage.iter().find(|usage| usage.kind == "cache mounts").unwrap().count
        };
        assert_eq!(count(&store), 1);
        let leftovers = store.prune(false).unwrap();
        assert!(leftovers.iter().any(|leftover| leftover.path.join("fs/file").exists()));
        assert_eq!((count(&store), hold(&store, &key, Sharing::Shared).unwrap_err()), (0, 0));
    }

    #[test]
    fn is_left_where_it_appears_while_others_look() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = [(); 2].map(|()| Store::open(folder.path()).unwrap());
        let published = AtomicU32::new(0);
        let rounds = 0..500_u32;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in rounds.clone() {
                    let key = Digest::of(&round.to_le_bytes());
                    let seen = || other.has_cache_mount("map", &key, 0).unwrap();
                    while !seen() && published.load(Ordering::SeqCst) <= round {}
                }
            });
            for round in rounds.clone() {
                publish(&one, &Digest::of(&round.to_le_bytes()), 0, "new");
                published.store(round + 1, Ordering::SeqCst);
            }
        });
        for round in rounds {
            let key = Digest::of(&round.to_le_bytes());
            assert!(hold(&one, &key, Sharing::Private).is_ok(), "round {round}");
        }
    }

    #[test]
    fn a_folder_without_content_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let key = Digest::of(b"key");
        fs::create_dir_all(store.cache_mount_home("map", &key, 0)).unwrap();
        assert_eq!(hold(&store, &key, Sharing::Locked).unwrap_err(), 0);
        publish(&store, &key, 0, "whole");
        assert!(hold(&store, &key, Sharing::Locked).is_ok());
    }
}
