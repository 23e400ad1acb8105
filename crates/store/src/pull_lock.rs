//! One pull of a blob at a time, among all processes that share a store: the lock.
//!
//! The lock is that of an open file, so it ends with its process, however that ends.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// The right to pull a blob, until this is dropped.
#[derive(Debug)]
pub struct PullLock {
    path: PathBuf,
    _file: File,
}

impl PullLock {
    /// Takes the lock of the file `path`, which is made. While another process has it, `goes_on` is
    /// called again and again.
    ///
    /// **Shape** — `None` once `goes_on` says no, and where locks do not work.
    pub(crate) fn take(path: PathBuf, goes_on: impl Fn() -> bool) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { path, _file: file })),
                Err(Errno::WOULDBLOCK | Errno::INTR) if goes_on() => {}
                Err(_) => return Ok(None),
            }
        }
    }
}

impl Drop for PullLock {
    fn drop(&mut self) {
        // Whoever waits for this file looks for the blob before it is pulled. A file that stays is
        // empty, and is used again.
        let _ = fs::remove_file(&self.path);
    }
}
