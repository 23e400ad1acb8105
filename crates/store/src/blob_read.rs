//! Opening blobs. They are checked before they are used, and dropped if they are damaged.
//!
//! A disk may change bytes, and so may a person. A blob counts as sound in this process once the
//! process has written it or has read it to its end. A damaged blob is removed: then its layer is
//! missing, so it is pulled or made again. A changed folder of an unpacked layer is set aside, and
//! stays until the store is pruned, because other builds may have it mounted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::entries::open_file;
use crate::folder::rename_new;
use crate::{Hashed, Store, StoreError};

impl Store {
    /// Returns the path of a blob, whether or not it exists.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root().join("blobs/sha256").join(digest.hex())
    }

    /// Opens a blob. Returns `None` if the store does not have it.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        self.pin(digest)?;
        let path = self.blob_path(digest);
        self.publisher().wait(&path)?;
        open_file(&path)
    }

    /// Returns whether the store has the blob, with its full size.
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        // Whoever cannot pin it makes it again, and is told then.
        self.pin(&descriptor.digest).is_ok() && self.has_pinned_blob(descriptor)
    }

    /// Returns whether the store has a blob, with its full size, that is pinned, or whose layer is.
    pub(crate) fn has_pinned_blob(&self, descriptor: &Descriptor) -> bool {
        let path = self.blob_path(&descriptor.digest);
        if let Some(size) = self.publisher().pending(&path) {
            return size == descriptor.size;
        }
        let meta = fs::metadata(path);
        meta.is_ok_and(|meta| meta.is_file() && meta.len() == descriptor.size)
    }

    /// Opens a blob whose bytes have its digest: this process has written or checked them. Returns
    /// `None` if the store does not have it.
    ///
    /// **Errors** — [`StoreError::Damaged`]; then the blob is dropped.
    pub fn open_sound(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let Some(file) = self.open_blob(digest)? else { return Ok(None) };
        if !self.soundness().is_confirmed(digest) {
            self.check(digest, &file)?;
        }
        // The check has moved the position.
        self.open_blob(digest)
    }

    /// Reads a blob to its end. A blob that the store does not have is no error.
    ///
    /// **Errors** — [`StoreError::Damaged`]; then the blob is dropped.
    pub fn check_blob(&self, digest: &Digest) -> Result<(), StoreError> {
        match self.open_blob(digest)? {
            Some(file) => self.check(digest, &file),
            None => Ok(()),
        }
    }

    /// Returns the files that were found damaged, or were found missing though the store had them
    /// before, in that order. A build that fails after this list grew may succeed when it is
    /// repeated.
    pub fn lost(&self) -> Vec<PathBuf> {
        self.soundness().lost()
    }

    /// Notes that a layer is missing that the store had before: another build has dropped its blob.
    pub fn note_missing(&self, layer: &DiffId) {
        self.soundness().lose(self.path("layers", &layer.0));
    }

    /// Sets the folder of an unpacked layer aside, because its files are not those of the layer.
    pub fn drop_folder(&self, folder: &Path) -> Result<(), StoreError> {
        for number in 0.. {
            let mut aside = folder.as_os_str().to_owned();
            aside.push(format!("-{number}"));
            match rename_new(folder, Path::new(&aside)) {
                Err(Errno::EXIST | Errno::NOTEMPTY) => {}
                // Another thread or build was first.
                Ok(()) | Err(Errno::NOENT) => break,
                Err(errno) => return Err(StoreError::io("set aside", folder)(errno.into())),
            }
        }
        self.soundness().lose(folder.to_owned());
        Ok(())
    }

    fn check(&self, digest: &Digest, file: &File) -> Result<(), StoreError> {
        let path = self.blob_path(digest);
        let mut hash = Hashed::new(io::sink());
        io::copy(&mut { file }, &mut hash).map_err(StoreError::io("read", &path))?;
        if hash.finish().1 == *digest {
            self.soundness().confirm(digest);
            return Ok(());
        }
        self.soundness().deny(digest);
        self.drop_blob(&path, file)?;
        self.soundness().lose(path.clone());
        Err(StoreError::Damaged { path })
    }

    /// Removes the blob at `path` if it still is the damaged `file`, and not one that another build
    /// has made in its place.
    fn drop_blob(&self, path: &Path, file: &File) -> Result<(), StoreError> {
        let identity = |meta: fs::Metadata| (meta.dev(), meta.ino());
        let damaged = file.metadata().map(identity).map_err(StoreError::io("look at", path))?;
        let is_damaged =
            |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| identity(meta) == damaged);
        if !is_damaged(path) {
            return Ok(());
        }
        let aside = self.temp_path("damaged");
        match fs::rename(path, &aside) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(StoreError::io("drop", path))?,
        }
        if !is_damaged(&aside) && rename_new(&aside, path).is_ok() {
            return Ok(());
        }
        fs::remove_file(&aside).map_err(StoreError::io("remove", aside))
    }
}
