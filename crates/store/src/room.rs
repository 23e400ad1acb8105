//! Making room: removing what was not used for longest, beside running builds.
//!
//! Locks are taken in this order: the total (`measured`), then the gate (`gate`, for a moment only). A
//! store that ends a build gives up its pins before it lets go of the total, so what no build uses is
//! within the bound at any time.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::FlockOperation;

use crate::items::{Item, ItemKind};
use crate::leftover::Leftover;
use crate::measured::{Measured, PATIENCE, Total};
use crate::pins::Pinned;
use crate::{Store, StoreError};

/// How long builds wait at most, about, while something is removed.
const TURN: Duration = Duration::from_millis(50);

/// Which items are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The bytes that all items may take up together, without those that running builds use.
    pub max_bytes: Option<u64>,
    /// Items that were last used before that time go in any case.
    pub unused_since: Option<SystemTime>,
}

impl Room {
    /// Returns the items that have to go: those that were not used for longest. Items that running builds
    /// use stay, and do not count.
    pub fn choose(self, items: Vec<Item>) -> Vec<Item> {
        let free = || items.iter().filter(|item| !item.is_pinned);
        let mut left: u64 = free().map(|item| item.bytes).sum();
        let is_old =
            |item: &Item| self.unused_since.is_some_and(|time| item.last_used < Some(time));
        let mut chosen = Vec::new();
        for item in items.into_iter().filter(|item| !item.is_pinned) {
            if is_old(&item) || self.max_bytes.is_some_and(|max| left > max) {
                left -= item.bytes;
                chosen.push(item);
            }
        }
        chosen
    }
}

impl Store {
    /// Removes the items that `wanted` chooses, and returns them, with the folders to remove from inside a
    /// user namespace, already moved out of the way. Nothing goes that another open store uses.
    ///
    /// **Errors** — [`StoreError::Busy`] if a process has the store open that does not say what it uses,
    /// [`StoreError::Pruning`] if another process removes something for too long; nothing is removed.
    pub fn make_room(&self, wanted: Room) -> Result<(Vec<Item>, Vec<Leftover>), StoreError> {
        self.remove(&mut self.own_total()?, wanted)
    }

    /// Keeps the bound on the store at the end of a build: removes what was not used for longest until all
    /// that no other open store uses takes up `max` bytes at most. What this store uses is in use no more.
    ///
    /// All files are looked at only if the running total is too large or unknown.
    ///
    /// **Shape** — as [`make_room`](Self::make_room); nothing if another process is at it for too long.
    pub fn keep_within(&self, max: u64) -> Result<(Vec<Item>, Vec<Leftover>), StoreError> {
        let Some(mut total) =
            Total::lock(self.root(), FlockOperation::NonBlockingLockExclusive, PATIENCE)?
        else {
            return Ok(Default::default());
        };
        let known = self.add_growth(&mut total);
        let removed = match known {
            Some(known) if known <= max => Default::default(),
            _ => self.remove(&mut total, Room { max_bytes: Some(max), unused_since: None })?,
        };
        self.pins().release();
        Ok(removed)
    }

    /// Locks the total to remove something.
    pub(crate) fn own_total(&self) -> Result<Total, StoreError> {
        let total = Total::lock(self.root(), FlockOperation::NonBlockingLockExclusive, PATIENCE)?;
        total.ok_or_else(|| StoreError::Pruning { path: self.root().to_owned() })
    }

    /// Adds what this store has made to the total when it is closed.
    pub(crate) fn close(&self) {
        /// Whoever has the total for longer is looking at all files.
        const AT_MOST: Duration = Duration::from_secs(2);
        let exclusive = FlockOperation::NonBlockingLockExclusive;
        if self.growth().is_some()
            && let Ok(Some(mut total)) = Total::lock(self.root(), exclusive, AT_MOST)
        {
            self.add_growth(&mut total);
        }
        self.pins().release();
    }

    /// Adds what this store has made to the total, and returns it if it is known.
    pub(crate) fn add_growth(&self, total: &mut Total) -> Option<u64> {
        let grown = self.growth().take();
        let mut known = total.read(self.boot())?;
        known.bytes = known.bytes.saturating_add(grown);
        if grown > 0 {
            total.write(&known);
        }
        (grown == 0 || known.is_recent()).then_some(known.bytes)
    }

    fn remove(
        &self,
        total: &mut Total,
        wanted: Room,
    ) -> Result<(Vec<Item>, Vec<Leftover>), StoreError> {
        self.settle()?;
        if self.pins().of_others() == Pinned::Everything {
            return Err(StoreError::Busy { path: self.root().to_owned() });
        }
        // All that was made until now is looked at.
        let _ = self.growth().take();
        // After a kill or a failure it is unknown.
        total.forget();
        let items = self.items_beside()?;
        let all: u64 = items.iter().map(|item| item.bytes).sum();
        let (gone, leftovers) = self.remove_items(wanted.choose(items), true)?;
        let left = all - gone.iter().map(|item| item.bytes).sum::<u64>();
        total.write(&Measured::new(left, self.boot()));
        Ok((gone, leftovers))
    }

    /// Removes items, and returns those that nobody used meanwhile. With `names`, the blobs of named images
    /// stay.
    ///
    /// **Errors** — [`StoreError::Busy`] if nothing is removed because a process does not say what it
    /// uses.
    pub(crate) fn remove_items(
        &self,
        items: Vec<Item>,
        names: bool,
    ) -> Result<(Vec<Item>, Vec<Leftover>), StoreError> {
        let (mut gone, mut leftovers) = (Vec::new(), Vec::new());
        let mut waiting = items.into_iter().peekable();
        while waiting.peek().is_some() {
            let begin = Instant::now();
            let done = self.pins().alone(|pinned| {
                if *pinned == Pinned::Everything {
                    return Err(StoreError::Busy { path: self.root().to_owned() });
                }
                // In this order: who gives up pins has named the image before.
                let used = self.in_use(pinned)?;
                let named = if names { self.named()? } else { HashSet::new() };
                while begin.elapsed() < TURN
                    && let Some(item) = waiting.next()
                {
                    if item.is_unused(&used, &named) {
                        leftovers.extend(self.remove_item(&item)?);
                        gone.push(item);
                    }
                }
                Ok(())
            })?;
            match done {
                Err(StoreError::Busy { .. }) if !gone.is_empty() => break,
                done => done?,
            }
        }
        Ok((gone, leftovers))
    }

    /// Removes an item that nobody uses.
    fn remove_item(&self, item: &Item) -> Result<Vec<Leftover>, StoreError> {
        // The record of a step goes before its layer.
        let mut leftovers = Vec::new();
        for path in item.files.iter().rev() {
            // Two layers may be of one step.
            match unless_gone(fs::remove_file(path)) {
                // Somebody has put a folder there.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                    leftovers.extend(self.set_aside(path, true)?);
                }
                removed => drop(removed.map_err(StoreError::io("remove", path))?),
            }
        }
        for folder in &item.folders {
            leftovers.extend(self.set_aside(folder, item.kind == ItemKind::Source)?);
        }
        Ok(leftovers)
    }

    /// Moves a folder out of the way, unless another build has taken it.
    fn set_aside(&self, folder: &Path, is_plain: bool) -> Result<Option<Leftover>, StoreError> {
        let path = self.temp_path("pruned");
        let was_there = unless_gone(fs::rename(folder, &path));
        let was_there = was_there.map_err(StoreError::io("move", folder))?;
        Ok(was_there.then_some(Leftover { path, is_plain }))
    }
}

impl Item {
    /// Returns whether the item may still go. Something may have happened since it was chosen.
    fn is_unused(&self, used: &Pinned, named: &HashSet<String>) -> bool {
        let is_named = |path: &Path| {
            path.file_name().and_then(|n| n.to_str()).is_some_and(|n| named.contains(n))
        };
        let is_newer = |path: &Path| {
            let used = fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
            used > self.last_used
        };
        !used.has(&self.keys)
            && !self.blobs().any(is_named)
            && !self.marks.iter().any(|path| is_newer(path))
    }
}

/// Returns whether something was there.
fn unless_gone(done: io::Result<()>) -> io::Result<bool> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        done => done.map(|()| true),
    }
}
