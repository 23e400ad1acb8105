//! Doing several things at the same time, and none of them twice.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_layer::parallel;

/// Layers that are pulled and unpacked at the same time. Registries limit the connections of a
/// client, and a disk gains nothing from more.
const AT_ONCE: usize = 3;

/// Calls `work` with each item, a few at a time, see [`parallel::each`].
pub(super) fn each<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    parallel::each(items, AT_ONCE, work)
}

/// A lock for each key.
pub(super) struct KeyedLocks<K>(Mutex<HashMap<K, Arc<Mutex<()>>>>);

impl<K> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> KeyedLocks<K> {
    /// Does `work` while nobody else works on `key`.
    pub(super) fn with<T>(&self, key: &K, work: impl FnOnce() -> T) -> T {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.entry(key.clone()).or_default().clone()
        };
        let _busy = lock.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn nobody_else_works_on_the_same_key() {
        let locks = KeyedLocks::default();
        let busy = AtomicBool::new(false);
        each((0..20).collect(), |_: i32| {
            locks.with(&"key", || {
                assert!(!busy.swap(true, Ordering::SeqCst));
                std::thread::yield_now();
                busy.store(false, Ordering::SeqCst);
            });
            Ok::<_, ()>(())
        })
        .unwrap();
    }
}
