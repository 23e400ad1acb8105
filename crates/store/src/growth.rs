//! The bytes that an open store has added to what could be pruned.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::usage::usage;

/// File systems give files room in blocks of so many bytes.
const BLOCK: u64 = 4 << 10;

/// What was added, as far as it was not taken yet.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    bytes: AtomicU64,
    /// The cache mounts that steps have used, by the paths of their lock files: nobody knows what the
    /// steps have put there.
    mounts: Mutex<HashSet<PathBuf>>,
}

impl Growth {
    /// Adds a file of so many bytes.
    pub(crate) fn file(&self, size: u64) {
        self.add(size.div_ceil(BLOCK) * BLOCK);
    }

    /// Adds bytes on the disk.
    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds what steps do in a cache mount with this lock file from now on.
    pub(crate) fn mount(&self, lock: &Path) {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(lock.to_owned());
    }

    /// Returns whether something was added since [`take`](Self::take).
    pub(crate) fn is_some(&self) -> bool {
        let has_mounts = !self.mounts.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        has_mounts || self.bytes.load(Ordering::Relaxed) > 0
    }

    /// Returns what was added since the last call.
    pub(crate) fn take(&self) -> u64 {
        let mounts =
            std::mem::take(&mut *self.mounts.lock().unwrap_or_else(PoisonError::into_inner));
        let mounts: u64 = mounts.iter().map(|lock| grown(lock)).sum();
        self.bytes.swap(0, Ordering::Relaxed).saturating_add(mounts)
    }
}

/// Returns by how much a cache mount has grown since somebody last asked. The lock file has what it had
/// then.
fn grown(lock: &Path) -> u64 {
    let Some(home) = lock.parent() else { return 0 };
    let known = fs::read_to_string(lock).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let now = usage("", vec![home.to_owned()]).bytes;
    let mut options = OpenOptions::new();
    let file = options.write(true).truncate(true).mode(0o600).open(lock);
    let used = fs::metadata(lock).and_then(|meta| meta.modified());
    // What is not noted is counted once more the next time.
    let _ = file.and_then(|mut file| {
        std::io::Write::write_all(&mut file, now.to_string().as_bytes())?;
        // The time says when a step last began to use it.
        file.set_modified(used?)
    });
    now.saturating_sub(known.unwrap_or(0))
}
