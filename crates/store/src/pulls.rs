//! One pull of a blob at a time, among all processes that share a store.

use std::time::Duration;

use xbuild_model::{Cancel, Digest};

use crate::entries::children;
use crate::pull_lock::PullLock;
use crate::{Store, StoreError};

/// The folder of the locks.
const FOLDER: &str = "pulls";
/// The time between two looks at a lock that another process has.
const TICK: Duration = Duration::from_millis(20);

impl Store {
    /// Takes the lock of a blob. Waits while another process pulls it, but not longer than the work
    /// is wanted; `None` then, and where locks do not work: two pulls do no harm. Whoever has the
    /// lock looks first whether the blob is there by now.
    pub fn lock_pull(
        &self,
        digest: &Digest,
        cancel: &Cancel,
    ) -> Result<Option<PullLock>, StoreError> {
        let path = self.root().join(FOLDER).join(digest.hex());
        let wait = || {
            std::thread::sleep(TICK);
            !cancel.is_cancelled()
        };
        PullLock::take(path.clone(), wait).map_err(StoreError::io("open", path))
    }

    /// Removes the locks that killed processes left.
    pub(crate) fn remove_pull_locks(&self) {
        for path in children(&self.root().join(FOLDER)) {
            // Dropping it removes the file. What stays is an empty file.
            drop(PullLock::take(path, || false));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_lock_is_one_holders_and_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let (digest, cancel) = (Digest::of(b"x"), Cancel::default());
        let lock = store.lock_pull(&digest, &cancel).unwrap().unwrap();
        assert!(store.lock_pull(&Digest::of(b"y"), &cancel).unwrap().is_some());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| store.lock_pull(&digest, &cancel).unwrap().unwrap());
            std::thread::sleep(TICK * 3);
            assert!(!waiting.is_finished());
            drop(lock);
            waiting.join().unwrap();
        });
        // Who is not wanted any more does not wait.
        let lock = store.lock_pull(&digest, &cancel).unwrap().unwrap();
        cancel.cancel();
        assert!(store.lock_pull(&digest, &cancel).unwrap().is_none());
        drop(lock);
        assert_eq!(fs::read_dir(store.root().join(FOLDER)).unwrap().count(), 0);
    }
}
