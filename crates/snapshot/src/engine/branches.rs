//! The steps that are getting a folder, see `branch`.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use xbuild_model::Digest;

use super::turns::KeyedLocks;

/// The steps that are getting a folder.
#[derive(Default)]
pub(super) struct Branches {
    /// One at a time for each stack, by chain ID.
    turns: KeyedLocks<Digest>,
    /// How many want a folder of a stack.
    wanted: Mutex<HashMap<Digest, usize>>,
    /// Whether files can share their blocks.
    pub(super) is_possible: OnceLock<bool>,
}

impl Branches {
    /// Does `work` while nobody else gets a folder of this stack. `work` is given a function that tells,
    /// once, how many others wait.
    pub(super) fn in_turn<T>(
        &self,
        stack: &Digest,
        work: impl FnOnce(&dyn Fn() -> usize) -> T,
    ) -> T {
        self.count(stack, |count| *count += 1);
        self.turns
            .with(stack, || work(&|| self.count(stack, |count| *count = count.saturating_sub(1))))
    }

    fn count(&self, stack: &Digest, change: impl FnOnce(&mut usize)) -> usize {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let count = wanted.entry(stack.clone()).or_default();
        change(count);
        *count
    }
}
