//! Making room in the store: by `xbuild prune`, and after builds that left more than the bound.

use xbuild_store::{Item, Room, Store, StoreError};

use crate::build::Build;
use crate::error::OpenError;
use crate::machine::Machine;
use crate::wiring;

/// Removes what was not used for longest from the store, and returns it.
///
/// **Errors** — another build has the store open; nothing is removed then.
pub fn make_room(machine: &Machine, store: &Store, wanted: Room) -> Result<Vec<Item>, OpenError> {
    let (removed, mut leftovers) = store.make_room(wanted)?;
    leftovers.extend(store.leftovers());
    wiring::remove_leftovers(machine, &leftovers).map_err(OpenError::Leftovers)?;
    Ok(removed)
}

impl Build {
    /// Keeps the bound on the store after a build. Returns what was removed. While another build has the
    /// store open nothing is: the last one to end keeps the bound.
    ///
    /// **Errors** — if something cannot be removed.
    pub fn keep_bound(&self) -> Result<Vec<Item>, OpenError> {
        let Some(max) = self.machine.bound.bytes(self.store.root()) else { return Ok(Vec::new()) };
        if self.store.is_surely_below(max) {
            return Ok(Vec::new());
        }
        let wanted = Room { max_bytes: Some(max), unused_since: None };
        match make_room(&self.machine, &self.store, wanted) {
            Err(OpenError::Store(StoreError::Busy { .. })) => Ok(Vec::new()),
            removed => removed,
        }
    }
}
