//! Folders with all files of a stack of layers, for machines without overlay mounts.
//!
//! A folder is made from the layers once and carried forward, step by step: a command changes it in
//! place, and the layers of COPY are applied to it. Between steps it waits here, with the stack that
//! it holds. A step takes the folder of its stack, or of the largest part of it; stages that
//! branch off one another have folders of their own. All of them end with the build.
//!
//! On disk, in the store's `tmp`:
//!
//! ```text
//! folder-NUMBER/fs          the files
//!               stamps-0    the stamps of its files, and those of the walk before
//!               stamps-1
//!               work..      made by the runner
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_layer::Mtime;
use xbuild_model::Chain;
use xbuild_store::{Background, TempFolder};

/// The most folders that wait for a step. A stage needs one.
const KEPT: usize = 8;

/// A folder with the files of a stack.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) temp: TempFolder,
    /// The stack.
    pub(super) chain: Chain,
    /// How far the clock got at the last walk; `None` before the first one.
    pub(super) settled: Option<Mtime>,
    /// Which of the two files has the stamps.
    second: bool,
}

impl Folder {
    /// Returns a folder in `temp`.
    pub(super) fn new(temp: TempFolder, chain: Chain) -> Self {
        Self { temp, chain, settled: None, second: false }
    }

    /// Returns the folder with the files.
    pub(super) fn files(&self) -> PathBuf {
        self.temp.path().join("fs")
    }

    /// Returns the path that the runner may make files beside.
    pub(super) fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    /// Returns the file with its stamps.
    pub(super) fn stamps(&self) -> PathBuf {
        self.temp.path().join(if self.second { "stamps-1" } else { "stamps-0" })
    }

    /// Returns the file for the stamps of the next walk.
    pub(super) fn next_stamps(&self) -> PathBuf {
        self.temp.path().join(if self.second { "stamps-0" } else { "stamps-1" })
    }

    /// Takes note of a walk that wrote the next stamps.
    pub(super) fn walked(&mut self, settled: Mtime) {
        self.second = !self.second;
        self.settled = Some(settled);
    }
}

/// The folders that wait, the last one used at the end. Steps that only read one share it.
#[derive(Debug, Default)]
pub(super) struct Folders(Mutex<Vec<Arc<Folder>>>);

impl Folders {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Folder>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the folder of the largest part of `chain`, counted from the oldest layer. Folders of
    /// nothing are not worth it.
    pub(super) fn take(&self, chain: &Chain) -> Option<Folder> {
        let mut folders = self.lock();
        let fits = |folder: &Arc<Folder>| {
            Arc::strong_count(folder) == 1
                && !folder.chain.0.is_empty()
                && chain.0.starts_with(&folder.chain.0)
        };
        let found = folders.iter().enumerate().filter(|(_, folder)| fits(folder));
        let (position, _) = found.max_by_key(|(_, folder)| folder.chain.0.len())?;
        Arc::into_inner(folders.remove(position))
    }

    /// Returns the folder of `chain` for reading.
    pub(super) fn share(&self, chain: &Chain) -> Option<Arc<Folder>> {
        self.lock().iter().rev().find(|folder| folder.chain == *chain).cloned()
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

    /// Removes all folders that nobody reads.
    pub(super) fn clear(&self, sweeper: &Background<TempFolder>) {
        let mut folders = self.lock();
        for folder in std::mem::take(&mut *folders) {
            match Arc::try_unwrap(folder) {
                Ok(folder) => sweeper.send(folder.temp),
                Err(used) => folders.push(used),
            }
        }
    }
}
