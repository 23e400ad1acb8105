//! Folders with all files of a stack of layers, for machines without overlay mounts.
//!
//! A folder is made from the layers once and carried forward, step by step: a command changes it in
//! place, and the layers of COPY are applied to it. Between steps it waits here, with the stack that
//! it holds. A step takes the folder of its stack, or of the largest part of it; stages that
//! branch off one another have folders of their own. When the build ends, some are left to the next
//! one (`kept`), and all others are removed.
//!
//! On disk, in the store's `tmp`:
//!
//! ```text
//! folder-NUMBER/fs          the files
//!               stamps-N    the stamps of its base, those of the last walk, and those of a walk at
//!                           work
//!               work..      made by the runner, which also removes it
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use xbuild_layer::Mtime;
use xbuild_model::Chain;
use xbuild_store::{Background, Store, TempFolder};

/// The most folders that wait for a step. A stage needs one.
const KEPT: usize = 8;

/// The root of this container.
pub(super) const ROOT: &str = "/";

/// A folder with the files of a stack.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) temp: TempFolder,
    /// Whether the files are in the root of this container, not in `temp`.
    pub(super) is_own: bool,
    /// The stack; `None` after a step that failed.
    pub(super) chain: Option<Chain>,
    /// How far the clock got at the last walk; `None` before the first one.
    pub(super) settled: Option<Mtime>,
    /// The number of the file with the stamps of the last walk.
    stamps: u32,
    /// `None` before the first walk.
    base: Option<Base>,
}

/// The files that a folder was filled with.
#[derive(Debug, Clone)]
pub(super) struct Base {
    /// The stack.
    pub(super) chain: Chain,
    /// How far the clock got at the walk after it was filled.
    pub(super) settled: Mtime,
    /// The number of the file with the stamps of that walk.
    stamps: u32,
}

impl Folder {
    /// Returns an empty folder in `temp`, which is going to have the files of `chain`.
    pub(super) fn new(temp: TempFolder, chain: Chain) -> Self {
        let chain = Some(chain);
        Self { temp, is_own: false, chain, settled: None, stamps: 0, base: None }
    }

    /// Returns a folder that [`into_base`](Self::into_base) gave away. Its files are those of the
    /// base, but for changes since then.
    pub(super) fn of_base(temp: TempFolder, chain: Chain, settled: Mtime) -> Self {
        let base = Some(Base { chain, settled, stamps: 0 });
        Self { temp, is_own: false, chain: None, settled: None, stamps: 0, base }
    }

    /// Returns the folder for [`of_base`](Self::of_base) with the chain and time of its base; as an
    /// error if it is not fit for that.
    pub(super) fn into_base(self) -> Result<(TempFolder, Base), TempFolder> {
        let Some(base) = self.base.clone() else { return Err(self.temp) };
        let stamps = self.stamps_file(base.stamps);
        for number in (0..=self.stamps + 1).filter(|number| *number != base.stamps) {
            // Most are not there.
            let _ = std::fs::remove_file(self.stamps_file(number));
        }
        if std::fs::rename(stamps, self.stamps_file(0)).is_err() {
            return Err(self.temp);
        }
        // Whatever else the runner has left behind may belong into the files.
        let known = ["fs", "stamps-0", "work-agents", "work.owners"];
        let is_clean = std::fs::read_dir(self.temp.path()).is_ok_and(|mut all| {
            all.all(|entry| entry.is_ok_and(|entry| known.iter().any(|k| entry.file_name() == *k)))
        });
        if is_clean { Ok((self.temp, base)) } else { Err(self.temp) }
    }

    /// Returns the base.
    pub(super) fn base(&self) -> Option<&Base> {
        self.base.as_ref()
    }

    /// Returns the folder with the files.
    pub(super) fn files(&self) -> PathBuf {
        if self.is_own { PathBuf::from(ROOT) } else { self.temp.path().join("fs") }
    }

    /// Returns the path that the runner may make files beside.
    pub(super) fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    fn stamps_file(&self, number: u32) -> PathBuf {
        self.temp.path().join(format!("stamps-{number}"))
    }

    /// Returns the file with its stamps.
    pub(super) fn stamps(&self) -> PathBuf {
        self.stamps_file(self.stamps)
    }

    /// Returns the file for the stamps of the next walk.
    pub(super) fn next_stamps(&self) -> PathBuf {
        self.stamps_file(self.stamps + 1)
    }

    /// Takes note of a walk that wrote the next stamps; the folder has the files of `chain`.
    pub(super) fn walked(&mut self, settled: Mtime, chain: Chain) {
        if self.base.as_ref().is_none_or(|base| base.stamps != self.stamps) {
            // Nobody reads it any more. It goes with the folder in the end.
            let _ = std::fs::remove_file(self.stamps());
        }
        self.stamps += 1;
        self.settled = Some(settled);
        self.base.get_or_insert_with(|| {
            let chain = chain.clone();
            Base { chain, settled, stamps: self.stamps }
        });
        self.chain = Some(chain);
    }

    /// Takes note that all files are as they were at the walk of the base.
    pub(super) fn resume(&mut self, base: &Base) {
        self.settled = Some(base.settled);
        self.chain = Some(base.chain.clone());
    }

    /// Makes the next walk the one of the base.
    pub(super) fn forget_base(&mut self) {
        self.base = None;
    }
}

/// The folders that wait, the last one used at the end. Steps that only read one share it.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<Vec<Arc<Folder>>>);

/// Returns the largest part of `chain`, counted from the oldest layer, that a folder has. Nothing is
/// not worth it.
fn part(folder: &Folder, chain: &Chain) -> Option<usize> {
    let has = folder.chain.as_ref()?;
    (!has.0.is_empty() && chain.0.starts_with(&has.0)).then_some(has.0.len())
}

impl Folders {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Folder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the folder of the largest part of `chain`, counted from the oldest layer.
    pub(super) fn take(&self, chain: &Chain) -> Option<Folder> {
        let mut folders = self.lock();
        let fits = |(position, folder): (usize, &Arc<Folder>)| {
            let count = if Arc::strong_count(folder) == 1 { part(folder, chain) } else { None };
            count.map(|count| (count, position))
        };
        let (_, position) = folders.iter().enumerate().filter_map(fits).max()?;
        Arc::into_inner(folders.remove(position))
    }

    /// Returns the folder of `chain` for reading.
    pub(super) fn share(&self, chain: &Chain) -> Option<Arc<Folder>> {
        self.lock().iter().rev().find(|folder| folder.chain.as_ref() == Some(chain)).cloned()
    }

    /// Returns the waiting folder that has the most layers in common with `chain`, for reading.
    pub(super) fn nearest(
        &self,
        chain: &Chain,
        common: &dyn Fn(&Chain, &Chain) -> usize,
    ) -> Option<Arc<Folder>> {
        let folders = self.lock();
        let known = folders.iter().filter_map(|folder| {
            let count = common(folder.chain.as_ref()?, chain);
            (count > 0).then_some((count, folder))
        });
        known.max_by_key(|(count, _)| *count).map(|(_, folder)| Arc::clone(folder))
    }

    /// Lets a folder wait. Returns one that has waited the longest if there are too many.
    pub(super) fn put(&self, folder: Arc<Folder>) -> Option<Folder> {
        let mut folders = self.lock();
        folders.push(folder);
        let mut unused = folders.iter().enumerate().filter(|(_, f)| Arc::strong_count(f) == 1);
        let oldest = unused.next().map(|(position, _)| position)?;
        if unused.count() < KEPT {
            return None;
        }
        Arc::into_inner(folders.remove(oldest))
    }

    /// Leaves all folders that nobody reads to later builds under the id map `map`. `size` returns about
    /// what the files of a stack take up, in bytes.
    pub(super) fn keep(
        &self,
        (store, sweeper): (&Store, &Background<TempFolder>),
        map: Option<&str>,
        size: &dyn Fn(&Chain) -> u64,
    ) {
        let mut folders = self.lock();
        for folder in std::mem::take(&mut *folders) {
            let folder = match Arc::try_unwrap(folder) {
                Ok(folder) => folder,
                Err(used) => {
                    folders.push(used);
                    continue;
                }
            };
            let bytes = folder.chain.as_ref().map(size);
            // A folder that cannot be kept is made again.
            let gone = match (folder.into_base(), map) {
                (Ok((temp, base)), Some(map)) => {
                    let Base { chain, settled, .. } = base;
                    let bytes = bytes.unwrap_or_else(|| size(&chain));
                    let record = Record { chain, settled };
                    store.keep_root(temp, map, &record, bytes).unwrap_or_default()
                }
                (Ok((temp, _)) | Err(temp), _) => vec![temp],
            };
            gone.into_iter().for_each(|temp| sweeper.send(temp));
        }
    }
}

/// The store's record of a folder that is left to later builds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The stack of its base.
    pub(super) chain: Chain,
    /// How far the clock got at the walk of the base.
    pub(super) settled: Mtime,
}
