//! Reading a blob while it is written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::Digest;

/// Reads a blob in the making from its first byte on, and waits for bytes that are not yet written.
///
/// **Errors** — reading fails with [`io::ErrorKind::UnexpectedEof`] if the blob was abandoned.
#[derive(Debug)]
pub struct GrowingBlob {
    file: File,
    position: u64,
    growth: Arc<Growth>,
}

/// How much of a blob is written, shared by its writer and its readers.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    size: u64,
    end: Option<End>,
}

#[derive(Debug, Clone)]
enum End {
    Complete(Digest),
    GivenUp,
}

impl GrowingBlob {
    pub(crate) fn new(file: File, growth: Arc<Growth>) -> Self {
        Self { file, position: 0, growth }
    }

    /// Waits until the blob has `size` bytes or is complete. Returns its digest and size in bytes if
    /// it is complete.
    ///
    /// **Errors** — [`io::ErrorKind::UnexpectedEof`] if the blob was abandoned.
    pub fn wait_for(&self, size: u64) -> io::Result<Option<(Digest, u64)>> {
        let open = |state: &mut State| state.size < size && state.end.is_none();
        let state = self.growth.changed.wait_while(self.growth.lock(), open);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        match &state.end {
            None => Ok(None),
            Some(End::Complete(digest)) => Ok(Some((digest.clone(), state.size))),
            Some(End::GivenUp) => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Returns a second reader of the same blob, from its first byte on.
    pub fn again(&self) -> io::Result<Self> {
        Ok(Self::new(self.file.try_clone()?, Arc::clone(&self.growth)))
    }

    /// Returns the file that holds the bytes.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for GrowingBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait_for(self.position + 1)?;
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Growth {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds `count` bytes.
    pub(crate) fn wrote(&self, count: usize) {
        self.lock().size += count as u64;
        self.changed.notify_all();
    }

    /// Marks the blob as complete, or, without a digest, as abandoned.
    pub(crate) fn end(&self, digest: Option<&Digest>) {
        let end = digest.map_or(End::GivenUp, |digest| End::Complete(digest.clone()));
        self.lock().end.get_or_insert(end);
        self.changed.notify_all();
    }
}
