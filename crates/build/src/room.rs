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
    /// Keeps the bound on the store after a build, beside builds that run. Returns what was removed.
    ///
    /// **Errors** — if something cannot be removed.
    pub fn keep_bound(&self) -> Result<Vec<Item>, OpenError> {
        let Some(max) = self.machine.bound.bytes(self.store.root()) else { return Ok(Vec::new()) };
        let (removed, leftovers) = match self.store.keep_within(max) {
            // A build of an older xbuild keeps the bound when it ends.
            Err(StoreError::Busy { .. }) => return Ok(Vec::new()),
            removed => removed?,
        };
        wiring::remove_leftovers(&self.machine, &leftovers).map_err(OpenError::Leftovers)?;
        Ok(removed)
    }
}
