//! The facts that this process has found out about files of the store.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use xbuild_model::Digest;

/// Blobs that are sound, and files that were lost.
#[derive(Debug, Default)]
pub(crate) struct Soundness {
    sound: Mutex<HashSet<Digest>>,
    lost: Mutex<Vec<PathBuf>>,
}

impl Soundness {
    /// Takes note that this process has written a blob, or has read it to its end.
    pub(crate) fn confirm(&self, blob: &Digest) {
        lock(&self.sound).insert(blob.clone());
    }

    pub(crate) fn is_confirmed(&self, blob: &Digest) -> bool {
        lock(&self.sound).contains(blob)
    }

    pub(crate) fn deny(&self, blob: &Digest) {
        lock(&self.sound).remove(blob);
    }

    /// Takes note of a file that was dropped, here or by another build.
    pub(crate) fn lose(&self, path: PathBuf) {
        lock(&self.lost).push(path);
    }

    pub(crate) fn lost(&self) -> Vec<PathBuf> {
        lock(&self.lost).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
