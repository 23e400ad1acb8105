//! Bytes on their way from or to a registry, as progress shows them.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Digest;

/// The direction of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a registry.
    Pull,
    /// To a registry.
    Push,
    /// From a shared cache in a registry.
    CacheFrom,
    /// To a shared cache in a registry.
    CacheTo,
}

impl Direction {
    /// Returns whether the bytes go to a registry. There the next blob may come when a step has made it.
    pub fn is_outward(self) -> bool {
        matches!(self, Self::Push | Self::CacheTo)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::CacheFrom => "cache from",
            Self::CacheTo => "cache to",
        })
    }
}

/// One blob on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Differs between all transfers of this process.
    pub id: u64,
    /// The direction.
    pub direction: Direction,
    /// The registry and the repository, `registry.example/app`.
    pub place: String,
    /// The digest of the blob; `None` while it is still being made.
    pub digest: Option<Digest>,
    /// The number of bytes to move; `None` while the blob is still being made.
    pub total: Option<u64>,
}

impl Transfer {
    /// Makes a transfer of a blob: its digest and its size in bytes, if they are known.
    pub fn new(direction: Direction, place: String, blob: Option<(Digest, u64)>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (digest, total) = blob.unzip();
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), direction, place, digest, total }
    }
}

/// The state of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferState {
    /// It begins. Comes first, once.
    Began,
    /// That many more bytes were moved. Bytes that are sent again after a failure count again.
    Moved(u64),
    /// It has ended, well or not. Comes last, once.
    Ended,
}

/// Takes the states of transfers, from several threads.
pub type OnTransfer = Arc<dyn Fn(&Transfer, TransferState) + Send + Sync>;

/// A transfer that is under way until this is dropped.
pub struct Moving {
    transfer: Transfer,
    on: OnTransfer,
}

impl fmt::Debug for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moving").field("transfer", &self.transfer).finish_non_exhaustive()
    }
}

impl Moving {
    /// Begins a transfer, whose states `on` takes.
    pub fn begin(transfer: Transfer, on: OnTransfer) -> Self {
        on(&transfer, TransferState::Began);
        Self { transfer, on }
    }

    /// Tells that more bytes were moved.
    pub fn moved(&self, bytes: u64) {
        (self.on)(&self.transfer, TransferState::Moved(bytes));
    }
}

impl Drop for Moving {
    fn drop(&mut self) {
        (self.on)(&self.transfer, TransferState::Ended);
    }
}

/// A reader whose bytes are those of a transfer, if there is one.
#[derive(Debug)]
pub struct Metered<R> {
    input: R,
    moving: Option<Moving>,
}

impl<R> Metered<R> {
    /// Returns a reader of `input` that tells how many bytes were read.
    pub fn new(input: R, moving: Option<Moving>) -> Self {
        Self { input, moving }
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if let Some(moving) = self.moving.as_ref().filter(|_| count > 0) {
            moving.moved(count as u64);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_reader_tells_its_bytes_and_its_end() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let on: OnTransfer = Arc::new(move |_, state| list.lock().unwrap().push(state));
        let transfer = Transfer::new(Direction::Pull, "r.example/a".to_owned(), None);
        let mut reader = Metered::new(&b"abcde"[..], Some(Moving::begin(transfer, on)));
        io::copy(&mut reader, &mut io::sink()).unwrap();
        drop(reader);
        let states = [TransferState::Began, TransferState::Moved(5), TransferState::Ended];
        assert_eq!(*told.lock().unwrap(), states);
    }
}
