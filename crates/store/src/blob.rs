//! Blobs: hashed while they are written, published under their digests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::mem;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use tracing::field::{Empty, display};
use tracing::{Span, debug_span};
use xbuild_model::Digest;

use crate::growing::Growth;
use crate::publisher::Job;
use crate::pull_lock::PullLock;
use crate::writeback::Writeback;
use crate::{GrowingBlob, Store, StoreError};

impl Store {
    /// Returns whether the file of a blob that was written once more may stay. A large one is checked
    /// when it is used.
    fn has_alike(&self, digest: &Digest, path: &Path, size: u64) -> bool {
        /// The size in bytes of a document; checking as much takes a few milliseconds.
        const SMALL: u64 = 4 << 20;
        fs::metadata(path).is_ok_and(|meta| meta.len() == size)
            && (size > SMALL || matches!(self.open_sound(digest), Ok(Some(_))))
    }

    /// Waits until all blobs that were written are on the disk under their names.
    ///
    /// **Errors** — the first failure. Records that name its blob have no effect then.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.publisher().wait_for_all()
    }

    /// Starts a blob.
    pub fn blob_writer(&self) -> Result<BlobWriter<'_>, StoreError> {
        let path = self.temp_path("blob");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(BlobWriter::new(self, file.map_err(StoreError::io("create", &path))?, path))
    }

    /// Stores a small blob and returns its digest.
    pub fn put_blob(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let mut writer = self.blob_writer()?;
        let path = writer.path().to_owned();
        writer.write_all(bytes).map_err(StoreError::of_write(&path))?;
        Ok(writer.commit(None)?.0)
    }
}

/// A blob in the making. Dropping it discards it.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a Store,
    file: Option<File>,
    path: PathBuf,
    hash: Sha256,
    size: u64,
    writeback: Writeback,
    /// How much is written, for those who read along.
    growth: Option<Arc<Growth>>,
    /// Held until the blob has its name.
    pull: Option<PullLock>,
    span: Span,
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
            pull: None,
            span: debug_span!("blob", digest = Empty, size = Empty),
        }
    }

    /// Returns a reader of the blob while it is written.
    pub fn watch(&mut self) -> Result<GrowingBlob, StoreError> {
        let file = File::open(&self.path).map_err(StoreError::io("open", &self.path))?;
        let growth = self.growth.get_or_insert_default();
        Ok(GrowingBlob::new(file, Arc::clone(growth)))
    }

    /// Holds the lock of a pull until the blob has its name.
    pub fn hold(&mut self, pull: Option<PullLock>) {
        self.pull = pull;
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Publishes the blob and returns its digest and its size in bytes. The blob gets its name once
    /// it is on the disk, see [`Store::settle`].
    ///
    /// **Errors** — [`StoreError::Mismatch`] if digest or size differ from `expected`; nothing is
    /// published then. Also the error of an earlier blob that could not be published.
    pub fn commit(mut self, expected: Option<(&Digest, u64)>) -> Result<(Digest, u64), StoreError> {
        let span = self.span.clone();
        let _entered = span.enter();
        let digest = Digest::from_sha256(self.hash.clone().finalize().into());
        let size = self.size;
        span.record("digest", display(&digest)).record("size", size);
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
        self.store.pin(&digest)?;
        if let Some(file) = self.file.take() {
            let target = self.store.blob_path(&digest);
            let (temp, writeback) = (self.path.clone(), mem::take(&mut self.writeback));
            if self.store.publisher().pending(&target) == Some(size) {
                let _ = fs::remove_file(&self.path);
            } else if self.store.has_alike(&digest, &target, size) {
                // Another build was first. The new time shows that the blob is in use.
                let _ = File::open(&target)
                    .and_then(|file| file.set_modified(std::time::SystemTime::now()));
                let _ = fs::remove_file(&self.path);
            } else {
                self.store.soundness().confirm(&digest);
                self.store.growth().file(size);
                let pull = self.pull.take();
                let job = Job { file, writeback, temp, target, size, pull };
                self.store.publisher().publish(job)?;
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
        let written = file.write(bytes).map_err(StoreError::within(&self.path))?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        if let Some(growth) = &self.growth {
            growth.wrote(written);
        }
        self.writeback.wrote(file, written).map_err(StoreError::within(&self.path))?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if let Some(growth) = self.growth.take() {
            growth.end(None);
        }
        if self.file.is_some() {
            // If this fails, the next session removes the file.
            let _ = fs::remove_file(&self.path);
        }
    }
}
