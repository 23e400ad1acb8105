//! Work in progress, and waiting for it.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The items that are in progress, each with a value, and the first failure. It stays: whoever comes
/// later and misses an item learns the cause.
#[derive(Debug)]
pub struct Pending<K, V, E> {
    state: Mutex<State<K, V, E>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<K, V, E> {
    pending: HashMap<K, V>,
    failure: Option<E>,
}

impl<K, V, E> Default for Pending<K, V, E> {
    fn default() -> Self {
        let state = State { pending: HashMap::new(), failure: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<K: Eq + Hash, V: Clone, E: Clone> Pending<K, V, E> {
    /// Adds an item, as soon as fewer than `limit` are in progress. Returns whether it is new.
    ///
    /// **Errors** — the first failure of any item.
    pub fn begin(&self, key: K, value: V, limit: usize) -> Result<bool, E> {
        let mut state = self.wait_while(|pending| pending.len() >= limit)?;
        Ok(state.pending.insert(key, value).is_none())
    }

    /// Removes an item, which is complete or has failed.
    pub fn end(&self, key: &K, result: Result<(), E>) {
        let mut state = self.lock();
        state.pending.remove(key);
        if let Err(failure) = result {
            state.failure.get_or_insert(failure);
        }
        self.changed.notify_all();
    }

    /// Returns the value of an item in progress.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.lock().pending.get(key).cloned()
    }

    /// Waits for an item, if it is in progress.
    ///
    /// **Errors** — the first failure, even if it is another item's.
    pub fn wait<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Result<(), E>
    where
        K: Borrow<Q>,
    {
        self.wait_while(|pending| pending.contains_key(key)).map(drop)
    }

    /// Waits for all items.
    ///
    /// **Errors** — the first failure.
    pub fn wait_for_all(&self) -> Result<(), E> {
        self.wait_while(|pending| !pending.is_empty()).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V, E>> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(
        &self,
        is_busy: impl Fn(&HashMap<K, V>) -> bool,
    ) -> Result<MutexGuard<'_, State<K, V, E>>, E> {
        let state = self.changed.wait_while(self.lock(), |state| is_busy(&state.pending));
        let state = state.unwrap_or_else(PoisonError::into_inner);
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(state),
        }
    }
}
