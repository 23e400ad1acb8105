//! Writing a blob: hashed while it is written, published under its digest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use xbuild_model::Digest;

use crate::{Store, StoreError};

/// A blob in the making. Dropping it discards it.
#[derive(Debug)]
pub struct BlobWriter<'a> {
    store: &'a Store,
    file: Option<File>,
    path: PathBuf,
    hash: Sha256,
    size: u64,
}

impl<'a> BlobWriter<'a> {
    pub(crate) fn new(store: &'a Store, file: File, path: PathBuf) -> Self {
        Self { store, file: Some(file), path, hash: Sha256::new(), size: 0 }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Publishes the blob, durably, and returns its digest and its size in bytes.
    ///
    /// **Errors** — [`StoreError::Mismatch`] if it is not what `expected` announces; nothing is
    /// published then.
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
            if fs::metadata(&target).is_ok_and(|meta| meta.len() == size) {
                // Somebody else was first. Renewed, so that pruning sees the use.
                let _ = File::open(&target)
                    .and_then(|file| file.set_modified(std::time::SystemTime::now()));
                let _ = fs::remove_file(&self.path);
            } else {
                file.sync_data().map_err(StoreError::io("sync", &self.path))?;
                fs::rename(&self.path, &target).map_err(StoreError::io("publish", target))?;
            }
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
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            // If it fails the next session sweeps it up.
            let _ = fs::remove_file(&self.path);
        }
    }
}
