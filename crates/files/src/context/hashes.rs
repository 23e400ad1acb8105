//! File hashes that are kept from one build to the next.
//!
//! A file is known by its stamp, which changes when somebody writes to it. Time stamps are only as
//! fine as the file system and the kernel's clock tick: a file that was changed just before it was
//! read may be changed again without a change of its stamp. The hash of such a file is not kept
//! beyond the process.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use xbuild_layer::{ContentHash, Mtime};

use crate::stamp::Stamp;

/// Hashes that are kept although this build did not look at their files, beyond as many as it did
/// look at: other steps and ignore files use other parts of a context.
const UNSEEN: usize = 10_000;

/// The first byte of the kept form. It changes with the encoding and with the kind of hash.
const VERSION: u8 = 2;

/// The contents of a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Hashed {
    pub(crate) hash: ContentHash,
    /// All extended attributes that a layer may carry.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A file with its stamp.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    stamp: Stamp,
    hashed: Hashed,
    #[serde(skip)]
    seen: bool,
    /// Whether its hash may be kept beyond the process.
    settled: bool,
}

/// The hashes of the files of one folder, by device and inode.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    /// The hashes of earlier processes, ascending. For large folders a table would take twice as
    /// much memory.
    restored: Vec<Known>,
    /// The hashes of this process, which come first. For a million files a hash table would take
    /// twice as much memory.
    fresh: BTreeMap<(u64, u64), Known>,
    is_changed: bool,
}

impl Hashes {
    /// Returns the hash of a file if its stamp is known.
    pub(super) fn get(&mut self, stamp: &Stamp) -> Option<Hashed> {
        let known = self.find(stamp)?;
        known.seen = true;
        Some(known.hashed.clone())
    }

    /// Returns whether the file is known, and any change would change its stamp.
    pub(super) fn is_settled(&mut self, stamp: &Stamp) -> bool {
        self.find(stamp).is_some_and(|known| known.settled)
    }

    fn find(&mut self, stamp: &Stamp) -> Option<&mut Known> {
        let known = match self.fresh.get_mut(&stamp.id) {
            Some(known) => known,
            None => {
                let at = self.restored.binary_search_by_key(&stamp.id, |known| known.stamp.id);
                &mut self.restored[at.ok()?]
            }
        };
        (known.stamp == *stamp).then_some(known)
    }

    /// Adds a file that was read from `begun` on.
    pub(super) fn put(&mut self, stamp: Stamp, hashed: Hashed, begun: Mtime) {
        let settled = stamp.is_settled(begun);
        self.is_changed |= settled;
        self.fresh.insert(stamp.id, Known { stamp, hashed, seen: true, settled });
    }

    /// Loads the form that [`Kept::write`] writes. Unreadable bytes are ignored.
    pub(super) fn restore(&mut self, bytes: &[u8]) {
        let Some((&VERSION, bytes)) = bytes.split_first() else { return };
        let Ok(list) = postcard::from_bytes(bytes) else { return };
        self.restored = list;
        self.restored.sort_by_key(|known| known.stamp.id);
    }

    /// Returns the hashes to keep; `None` if they are those that were loaded.
    pub(super) fn kept(&mut self) -> Option<Kept<'_>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let old = self.restored.iter().filter(|known| !self.fresh.contains_key(&known.stamp.id));
        let mut kept: Vec<&Known> = old.chain(self.fresh.values()).collect();
        let mut unseen = kept.iter().filter(|known| known.seen).count() + UNSEEN;
        kept.retain(|known| known.settled);
        kept.sort_unstable_by_key(|known| known.stamp.id);
        kept.retain(|known| {
            if !known.seen {
                unseen = unseen.saturating_sub(1);
            }
            known.seen || unseen > 0
        });
        Some(Kept(kept))
    }
}

/// The hashes of a folder's files that should be kept.
#[derive(Debug)]
pub struct Kept<'a>(Vec<&'a Known>);

impl Kept<'_> {
    /// Writes the form that `Hashes::restore` reads.
    pub fn write(&self, mut output: impl Write) -> io::Result<()> {
        output.write_all(&[VERSION])?;
        // Plain values can always be encoded, so only the output fails.
        postcard::to_io(&self.0, output).map(drop).map_err(io::Error::other)
    }
}

/// Returns the time of this machine's clock.
pub(super) fn now() -> Mtime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Mtime { secs: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanos: now.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ino: u64, secs: i64) -> Stamp {
        let time = Mtime { secs, nanos: 5 };
        Stamp { id: (1, ino), size: 3, modified: Mtime { secs: 0, nanos: 0 }, changed: time }
    }

    fn hashed(byte: u8) -> Hashed {
        Hashed { hash: ContentHash([byte; 32]), xattrs: vec![(b"n".to_vec(), b"v".to_vec())] }
    }

    fn encoded(hashes: &mut Hashes) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        hashes.kept()?.write(&mut bytes).unwrap();
        Some(bytes)
    }

    fn restored(bytes: &[u8]) -> Hashes {
        let mut hashes = Hashes::default();
        hashes.restore(bytes);
        hashes
    }

    #[test]
    fn what_was_read_long_after_its_last_change_is_kept() {
        let mut hashes = Hashes::default();
        hashes.put(stamp(1, 100), hashed(1), Mtime { secs: 103, nanos: 0 });
        // It may change again within the same tick.
        hashes.put(stamp(2, 100), hashed(2), Mtime { secs: 102, nanos: 0 });
        assert!(hashes.get(&stamp(2, 100)).is_some());
        let mut next = restored(&encoded(&mut hashes).unwrap());
        assert_eq!(next.get(&stamp(1, 100)).unwrap().hash, ContentHash([1; 32]));
        assert_eq!(next.get(&stamp(1, 100)).unwrap().xattrs, hashed(1).xattrs);
        assert!(next.get(&stamp(1, 101)).is_none());
        assert!(next.get(&stamp(2, 100)).is_none());
        assert!(encoded(&mut next).is_none(), "nothing is new");
    }

    #[test]
    fn files_that_are_not_seen_are_forgotten_at_some_time() {
        let late = Mtime { secs: 1000, nanos: 0 };
        let mut hashes = Hashes::default();
        for ino in 0..3 * UNSEEN as u64 {
            hashes.put(stamp(ino, 1), hashed(0), late);
        }
        let mut next = restored(&encoded(&mut hashes).unwrap());
        next.put(stamp(u64::MAX, 1), hashed(1), late);
        let mut last = restored(&encoded(&mut next).unwrap());
        assert!(last.restored.len() <= UNSEEN + 2, "{}", last.restored.len());
        assert!(last.get(&stamp(u64::MAX, 1)).is_some());
    }

    #[test]
    fn garbage_is_nothing() {
        let mut hashes = Hashes::default();
        hashes.put(stamp(1, 1), hashed(1), Mtime { secs: 1000, nanos: 0 });
        let bytes = encoded(&mut hashes).unwrap();
        for length in 0..bytes.len() {
            assert!(restored(&bytes[..length]).restored.is_empty());
        }
        assert!(restored(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0x7f]).restored.is_empty());
    }
}
