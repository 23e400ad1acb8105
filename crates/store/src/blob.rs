//! Writing a blob: hashed while it is written, published under its digest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};
use xbuild_model::Digest;

use crate::growing::Growth;
use crate::publisher::Job;
use crate::{GrowingBlob, Store, StoreError};

/// Bytes after which a sync is started in the background.
const WRITEBACK: usize = 32 << 20;

/// A blob in the making. Dropping it discards it.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a Store,
    file: Option<File>,
    path: PathBuf,
    hash: Sha256,
    size: u64,
    writeback: Writeback,
    /// Whoever reads along.
    growth: Option<Arc<Growth>>,
}

impl<'a> BlobWriter<'a> {
    pub(crate) fn new(store: &'a Store, file: File, path: PathBuf) -> Self {
        Self {
            store,
            file: Some(file),
            path,
            hash: Sha256::new(),
            size: 0,
            writeback: Writeback::default(),
            growth: None,
        }
    }

    /// Returns what reads the blob while it is written.
    pub fn watch(&mut self) -> Result<GrowingBlob, StoreError> {
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let growth = self.growth.get_or_insert_default();
        Ok(GrowingBlob::new(file, Arc::clone(growth)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Publishes the blob and returns its digest and its size in bytes. It gets its name when it
    /// is on the disk, see [`Store::settle`].
    ///
    /// **Errors** — [`StoreError::Mismatch`] if it is not what `expected` announces; nothing is
    /// published then. Also that of an earlier blob which could not be published.
    pub fn commit(mut self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        let digest = Digest::from_sha256(self.hash.clone().finalize().into());
        let size = self.size;
        if let Some((expected, expected_size)) = expected
            && (*expected != digest || expected_size != size)
        {
            return Err(StoreError::Mismatch {
                expected: expected.clone(),
                expected_size,
                actual: digest,
                actual_size: size,
            });
        }
        if let Some(file) = self.file.take() {
            let target = self.store.blob_path(&digest);
            let (temp, writeback) = (self.path.clone(), mem::take(&mut self.writeback));
            if self.store.publisher().pending(&target) == Some(size) {
                let _ = fs::remove_file(&self.path);
            } else if fs::metadata(&target).is_ok_and(|meta| meta.len() == size) {
                // Somebody else was first. Renewed, so that pruning sees the use.
                let _ = File::open(&target)
                    .and_then(|file| file.set_modified(std::time::SystemTime::now()));
                let _ = fs::remove_file(&self.path);
            } else {
                self.store.publisher().publish(Job { file, writeback, temp, target, size })?;
            }
        }
        if let Some(growth) = self.growth.take() {
            growth.end(Some(&digest));
        }
        Ok((digest, size))
    }
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let written = file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        if let Some(growth) = &self.growth {
            growth.wrote(written);
        }
        self.writeback.wrote(file, written)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has the kernel write a large blob to the disk while more of it comes: at the end there is little
/// left to wait for.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    pending: usize,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writeback {
    /// Counts bytes that were written, and starts to sync them when they are many.
    ///
    /// **Errors** — those of the sync before: the kernel tells each of them once, so none may be lost.
    fn wrote(&mut self, file: &File, count: usize) -> io::Result<()> {
        self.pending += count;
        let is_busy = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if self.pending < WRITEBACK || is_busy {
            return Ok(());
        }
        self.join()?;
        self.pending = 0;
        // Only a head start: without a thread for it, the sync at the end does all.
        let Ok(file) = file.try_clone() else { return Ok(()) };
        let sync = move || file.sync_data();
        self.thread = thread::Builder::new().name("writeback".to_owned()).spawn(sync).ok();
        Ok(())
    }

    /// Waits for the sync that was started last.
    pub(crate) fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.end(None);
        }
        if self.file.is_some() {
            // If it fails the next session sweeps it up.
            let _ = fs::remove_file(&self.path);
        }
    }
}
