//! Making room: removing what was not used for longest.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use crate::entries::children;
use crate::gc::Leftover;
use crate::home::MEASURED;
use crate::items::Item;
use crate::{Store, StoreError};

/// How long a measure of the store counts.
const MEASURED_FOR: Duration = Duration::from_secs(60 * 60);

/// A layer takes up so many times the bytes of its blob at most, as a rule: with its files unpacked.
const UNPACKED: u64 = 6;

/// The bytes of all items, and of all blobs then.
#[derive(serde::Serialize, serde::Deserialize)]
struct Measured {
    bytes: u64,
    blobs: u64,
    at: SystemTime,
}

/// Which items are to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// The bytes that all items may take up together.
    pub max_bytes: Option<u64>,
    /// Items that were last used before that time go in any case.
    pub unused_since: Option<SystemTime>,
}

impl Room {
    /// Returns the items that have to go: those that were not used for longest.
    pub fn choose(self, items: Vec<Item>) -> Vec<Item> {
        let mut left: u64 = items.iter().map(|item| item.bytes).sum();
        let is_old =
            |item: &Item| self.unused_since.is_some_and(|time| item.last_used < Some(time));
        let mut chosen = Vec::new();
        for item in items {
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
    /// user namespace, already moved out of the way.
    ///
    /// **Errors** — [`StoreError::Busy`] if another build has the store open; nothing is removed.
    pub fn make_room(&self, wanted: Room) -> Result<(Vec<Item>, Vec<Leftover>), StoreError> {
        self.alone(|| {
            let items = self.items();
            let all: u64 = items.iter().map(|item| item.bytes).sum();
            let chosen = wanted.choose(items);
            let mut leftovers = Vec::new();
            for item in &chosen {
                // The record of a step goes before its layer.
                for path in item.files.iter().rev() {
                    match fs::remove_file(path) {
                        // Two layers may be of one step.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        removed => removed.map_err(StoreError::io("remove", path))?,
                    }
                }
                for folder in &item.folders {
                    let path = self.temp_path("trimmed");
                    fs::rename(folder, &path).map_err(StoreError::io("move", folder))?;
                    leftovers.push(Leftover { path });
                }
            }
            self.note_size(all - chosen.iter().map(|item| item.bytes).sum::<u64>());
            Ok((chosen, leftovers))
        })
    }

    /// Returns whether all items together surely take up no more than `max` bytes, by the last measure and
    /// the blobs that came since. So a build need not look at all files.
    pub fn is_surely_below(&self, max: u64) -> bool {
        let note = fs::read(self.root().join(MEASURED)).ok();
        let note = note.and_then(|bytes| serde_json::from_slice::<Measured>(&bytes).ok());
        let Some(note) = note else { return false };
        let is_recent = note.at.elapsed().is_ok_and(|age| age < MEASURED_FOR);
        let more = self.blob_bytes().saturating_sub(note.blobs);
        is_recent && note.bytes.saturating_add(more.saturating_mul(UNPACKED)) <= max
    }

    /// Keeps the measured size of all items.
    fn note_size(&self, bytes: u64) {
        let note = Measured { bytes, blobs: self.blob_bytes(), at: SystemTime::now() };
        // Without the note the next build measures again.
        let write = |bytes: Vec<u8>| {
            let mut options = OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(0o600);
            options.open(self.root().join(MEASURED))?.write_all(&bytes)
        };
        let _ = serde_json::to_vec(&note).map_err(io::Error::from).and_then(write);
    }

    /// Returns the bytes of all blobs.
    fn blob_bytes(&self) -> u64 {
        let sizes = children(&self.root().join("blobs/sha256")).into_iter();
        sizes.filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum()
    }

    /// Does work while no other build has the store open.
    fn alone<T>(&self, work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let busy = || StoreError::Busy { path: self.root().to_owned() };
        rustix::fs::flock(self.lock_file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| busy())?;
        let done = self.settle().and_then(|()| work());
        rustix::fs::flock(self.lock_file(), FlockOperation::LockShared).map_err(|_| busy())?;
        done
    }
}
