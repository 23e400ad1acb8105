//! Folders with all files of a stack of layers, which one build leaves to the next.
//!
//! A build that takes one moves it into its own temporary folder, so nobody else has it; a kill
//! leaves it there, to be removed. Only builds that end put theirs back.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::boot::{self, ROOTS};
use crate::entries::{children, file_name};
use crate::folder::publish;
use crate::{Store, StoreError, TempFolder, record};

/// The most folders that are kept for an id map; each is as large as an unpacked image.
const KEPT: usize = 4;

/// The record that says what a folder has.
const RECORD: &str = "record";

impl Store {
    /// Leaves `folder` to later builds under the id map `map`, with a record that says what it has.
    /// Returns folders that have to go in its place, and `folder` itself if another build was faster.
    /// `bytes` is about what its files take up on the disk.
    pub fn keep_root(
        &self,
        folder: TempFolder,
        map: &str,
        record: &impl Serialize,
        bytes: u64,
    ) -> Result<Vec<TempFolder>, StoreError> {
        self.write_record_at(folder.path().join(RECORD), record)?;
        let mut known = children(&self.roots(map));
        known.sort_by_key(|path| fs::metadata(path.join(RECORD)).and_then(|m| m.modified()).ok());
        let surplus = known.len().saturating_sub(KEPT - 1);
        let mut out: Vec<TempFolder> =
            known.drain(..surplus).filter_map(|path| self.move_root(&path)).collect();
        let is_free = |name: &String| known.iter().all(|path| file_name(path) != *name);
        let name = (0..).map(|number: u64| number.to_string()).find(is_free).unwrap_or_default();
        publish(folder.path(), self.roots(map).join(name))?;
        self.growth().add(bytes);
        // What was published is not there any more.
        if folder.path().exists() {
            out.push(folder);
        }
        Ok(out)
    }

    /// Returns the kept folders of an id map with their records.
    pub fn kept_roots<T: DeserializeOwned>(&self, map: &str) -> Vec<(PathBuf, T)> {
        let read = |path: PathBuf| {
            let record = self.root_record(&path)?;
            Some((path, record))
        };
        children(&self.roots(map)).into_iter().filter_map(read).collect()
    }

    /// Takes a kept folder. Returns it with its record, which may be another one by now; `None` if it
    /// is gone.
    pub fn take_root<T: DeserializeOwned>(&self, path: &Path) -> Option<(TempFolder, T)> {
        let folder = self.move_root(path)?;
        let record = self.root_record(folder.path())?;
        fs::remove_file(folder.path().join(RECORD)).ok()?;
        Some((folder, record))
    }

    fn root_record<T: DeserializeOwned>(&self, folder: &Path) -> Option<T> {
        let bytes = self.read_file(&folder.join(RECORD)).ok()?.and_then(record::unseal)?;
        serde_json::from_slice(&bytes).ok()
    }

    fn move_root(&self, path: &Path) -> Option<TempFolder> {
        let temp = self.temp_path("folder");
        // Another build may have it by now.
        fs::rename(path, &temp).ok()?;
        Some(TempFolder::new(temp))
    }

    fn roots(&self, map: &str) -> PathBuf {
        let mut path = self.root().join(ROOTS);
        path.extend([self.boot(), &boot::of_map(map)]);
        path
    }

    /// Returns the kept folders of all id maps.
    pub(crate) fn all_roots(&self) -> Vec<PathBuf> {
        let boots = children(&self.root().join(ROOTS));
        let maps = boots.iter().flat_map(|boot| children(boot));
        maps.flat_map(|map| children(&map)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(store: &Store, text: &str) -> TempFolder {
        let folder = store.temp_dir("folder").unwrap();
        fs::create_dir(folder.path().join("fs")).unwrap();
        fs::write(folder.path().join("fs/file"), text).unwrap();
        folder
    }

    #[test]
    fn the_newest_are_kept_and_taken_once() {
        let temp = tempfile::tempdir().unwrap();
        let store = Store::open(temp.path()).unwrap();
        for number in 0..KEPT {
            let made = folder(&store, &number.to_string());
            assert!(store.keep_root(made, "map", &number, 0).unwrap().is_empty());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let gone = store.keep_root(folder(&store, "new"), "map", &KEPT, 0).unwrap();
        assert_eq!(fs::read_to_string(gone[0].path().join("fs/file")).unwrap(), "0");
        assert!(store.kept_roots::<usize>("other").is_empty());
        let kept = store.kept_roots::<usize>("map");
        let mut numbers: Vec<usize> = kept.iter().map(|(_, number)| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=KEPT).collect::<Vec<_>>());
        let (path, number) = &kept[0];
        let (taken, record) = store.take_root::<usize>(path).unwrap();
        assert_eq!(record, *number);
        assert!(taken.path().starts_with(store.root().join("tmp")));
        assert!(store.take_root::<usize>(path).is_none());
        assert_eq!(store.kept_roots::<usize>("map").len(), KEPT - 1);
        let usage = store.usage();
        let roots = usage.iter().find(|usage| usage.kind == "root folders").unwrap();
        assert_eq!(roots.count, KEPT as u64 - 1);
        // Those that are kept by nobody are removed, and so is what a damaged record stands for.
        fs::write(kept[1].0.join(RECORD), "damaged").unwrap();
        assert_eq!(store.kept_roots::<usize>("map").len(), KEPT - 2);
        drop((taken, gone));
        assert_eq!(store.prune(false).unwrap().len(), KEPT - 1);
    }
}
