//! Work in progress: a folder for each open store, swept up when its owner is gone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use crate::StoreError;

/// The folder of one open store. Its lock is held as long as the store is open.
#[derive(Debug)]
pub(crate) struct Session {
    path: PathBuf,
    _lock: File,
}

const LOCK: &str = "lock";
static SESSIONS: AtomicU64 = AtomicU64::new(0);

impl Session {
    pub(crate) fn start(tmp: &Path) -> Result<Self, StoreError> {
        loop {
            let number = SESSIONS.fetch_add(1, Ordering::Relaxed);
            let path = tmp.join(format!("{}-{number}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                // Left by a dead process with our id whose files only its namespace can remove.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(StoreError::io("make folder", &path))?,
            }
            if let Some(lock) = try_lock(&path) {
                return Ok(Self { path, _lock: lock });
            }
            // A sweeper came between the two calls.
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Takes the lock of a session's folder, `None` if somebody has it or the folder is gone.
fn try_lock(folder: &Path) -> Option<File> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path).ok()?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    // The folder may have been swept between opening and locking.
    folder.join(LOCK).exists().then_some(file)
}

/// Removes the folders of sessions that ended without doing so. What belongs to other owners
/// (files of a user namespace) stays for [`crate::Store::leftovers`].
pub(crate) fn sweep(tmp: &Path) {
    for entry in fs::read_dir(tmp).into_iter().flatten().flatten() {
        let path = entry.path();
        if let Some(_lock) = try_lock(&path) {
            remove(&path);
        }
    }
}

/// Removes a folder as far as the plain user can, the lock file last.
fn remove(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let inner = entry.path();
        if entry.file_name() != LOCK {
            let _ = fs::remove_dir_all(&inner).or_else(|_| fs::remove_file(&inner));
        }
    }
    let only_lock = fs::read_dir(path).is_ok_and(|entries| entries.count() <= 1);
    if only_lock {
        let _ = fs::remove_dir_all(path);
    }
}

/// A folder that no open store owns. It is locked: a store that is just being opened has its
/// folder for a moment before its lock, and must not get the lock of one that is taken away.
#[derive(Debug)]
pub(crate) struct Abandoned {
    pub(crate) path: PathBuf,
    _lock: File,
}

/// Returns the folders below `tmp` that no open store owns.
pub(crate) fn abandoned(tmp: &Path) -> Vec<Abandoned> {
    let entries = fs::read_dir(tmp).into_iter().flatten().flatten();
    let lock = |path: PathBuf| try_lock(&path).map(|_lock| Abandoned { path, _lock });
    entries.filter_map(|entry| lock(entry.path())).collect()
}

/// A folder for work in progress, removed on drop as far as the plain user can.
#[derive(Debug)]
pub struct TempFolder {
    path: PathBuf,
}

impl TempFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
