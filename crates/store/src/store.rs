//! Opening the store, and the paths in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::publisher::Publisher;
use crate::record::LayerRecord;
use crate::temp::{self, Session};
use crate::{
    BlobWriter, ImageRecord, SelectionRecord, StoreError, TempFolder, folder, home, record,
};

/// The largest record or index that is read, in bytes: one million files make about 200 MiB.
const MAX_RECORD: u64 = 1 << 30;

/// An open store. Holds a shared lock, so that nothing is pruned under a running build.
#[derive(Debug)]
pub struct Store {
    /// The first to be dropped: it may still be at work in the session's folder.
    publisher: Publisher,
    root: PathBuf,
    lock: File,
    session: Session,
    counter: AtomicU64,
    boot: String,
}

impl Store {
    /// Opens the store in the folder `root`, made if it is missing, and removes what killed
    /// builds left in it.
    ///
    /// **Errors** — those of a folder that is no store or cannot be trusted, which stays as it is;
    /// [`StoreError::Busy`] never: it waits for a running prune.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let lock = home::open(root)?;
        rustix::fs::flock(&lock, FlockOperation::LockShared)
            .map_err(|errno| StoreError::io("lock", root.join(home::LOCK))(errno.into()))?;
        temp::sweep(&root.join("tmp"));
        let session = Session::start(&root.join("tmp"))?;
        let boot = folder::boot_id()?;
        let store = Self {
            root: root.to_owned(),
            lock,
            session,
            counter: AtomicU64::new(0),
            boot,
            publisher: Publisher::default(),
        };
        store.retire_folders();
        Ok(store)
    }

    /// Returns the folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of a blob, whether or not it is there.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Opens a blob, `None` if it is not there.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<File>, StoreError> {
        let path = self.blob_path(digest);
        self.publisher.wait(&path)?;
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", path)(error)),
        }
    }

    /// Returns whether the blob is there with its full size.
    pub fn has_blob(&self, descriptor: &Descriptor) -> bool {
        let path = self.blob_path(&descriptor.digest);
        if let Some(size) = self.publisher.pending(&path) {
            return size == descriptor.size;
        }
        let meta = fs::metadata(path);
        meta.is_ok_and(|meta| meta.len() == descriptor.size)
    }

    /// Waits until all blobs that were written are on the disk and have their names.
    ///
    /// **Errors** — the first failure; records that name the blob are of no effect then.
    pub fn settle(&self) -> Result<(), StoreError> {
        self.publisher.wait_for_all()
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
        writer.write_all(bytes).map_err(StoreError::io("write", path))?;
        Ok(writer.commit(None)?.0)
    }

    /// Returns the descriptor of the blob that holds a layer, if the blob is here.
    pub fn layer(&self, layer: &DiffId) -> Result<Option<Descriptor>, StoreError> {
        let found: Option<LayerRecord> = self.read_record("layers", &layer.0)?;
        Ok(found.map(|record| record.blob).filter(|blob| self.has_blob(blob)))
    }

    /// Records which blob holds a layer, and in the encoding of which name if that is known. The
    /// blob must be here.
    pub fn put_layer(
        &self,
        layer: &DiffId,
        blob: &Descriptor,
        encoding: Option<&str>,
    ) -> Result<(), StoreError> {
        let (blob, encoding) = (blob.clone(), encoding.map(str::to_owned));
        self.write_record("layers", &layer.0, &LayerRecord { blob, encoding })
    }

    /// Returns the descriptor of the blob that holds a layer in the encoding of that name, if the
    /// blob is here.
    pub fn encoded(
        &self,
        layer: &DiffId,
        encoding: &str,
    ) -> Result<Option<Descriptor>, StoreError> {
        let found: Option<LayerRecord> = self.read_record("layers", &layer.0)?;
        let found = found.filter(|record| record.encoding.as_deref() == Some(encoding));
        let found = match found {
            Some(record) => Some(record.blob),
            None => self.read_record_at(&self.encoded_path(layer, encoding))?,
        };
        Ok(found.filter(|blob| self.has_blob(blob)))
    }

    /// Records which blob holds a layer in the encoding of that name, which is letters, digits and
    /// hyphens. The blob must be here.
    pub fn put_encoded(
        &self,
        layer: &DiffId,
        encoding: &str,
        blob: &Descriptor,
    ) -> Result<(), StoreError> {
        self.write_record_at(self.encoded_path(layer, encoding), blob)
    }

    /// Returns the tree index of a layer, in the form in which it was given.
    pub fn index(&self, layer: &DiffId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_file(&self.path("indexes", &layer.0))?.and_then(record::unseal))
    }

    /// Keeps the tree index of a layer, as `write` writes it: it may be large.
    pub fn put_index(
        &self,
        layer: &DiffId,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.publish_written(self.path("indexes", &layer.0), write)
    }

    /// Returns what is remembered of the files of the folder `key`, in the form in which it was
    /// given.
    pub fn file_hashes(&self, key: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_file(&self.path("file-hashes", key))?.and_then(record::unseal))
    }

    /// Remembers something of the files of the folder `key`, as `write` writes it: it may be large.
    pub fn put_file_hashes(
        &self,
        key: &Digest,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.publish_written(self.path("file-hashes", key), write)
    }

    /// Returns what the COPY `key` came to when it last was looked at, if that is recorded.
    pub fn selection(&self, key: &Digest) -> Result<Option<SelectionRecord>, StoreError> {
        self.read_record("selections", key)
    }

    /// Records what a COPY came to.
    pub fn put_selection(&self, key: &Digest, record: &SelectionRecord) -> Result<(), StoreError> {
        self.write_record("selections", key, record)
    }

    /// Gives the image `record.name` its content; whatever had that name loses it.
    pub fn put_image(&self, record: &ImageRecord) -> Result<(), StoreError> {
        self.write_record("images", &Digest::of(record.name.as_bytes()), record)
    }

    /// Returns the image of that name.
    pub fn image(&self, name: &str) -> Result<Option<ImageRecord>, StoreError> {
        self.read_record("images", &Digest::of(name.as_bytes()))
    }

    /// Makes an empty file for work in progress, to write and to read; it has no name any more.
    pub fn temp_file(&self) -> Result<File, StoreError> {
        let path = self.temp_path("spool");
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(StoreError::io("create", &path))?;
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        Ok(file)
    }

    /// Makes an empty folder for work in progress.
    pub fn temp_dir(&self, purpose: &str) -> Result<TempFolder, StoreError> {
        let path = self.temp_path(purpose);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(StoreError::io("make folder", &path))?;
        Ok(TempFolder::new(path))
    }

    /// Moves unpacked layers of other boots out of the way, to be removed like any leftover.
    fn retire_folders(&self) {
        for path in folder::stale(&self.root, &self.boot) {
            // Another build may have been faster.
            let _ = fs::rename(&path, self.temp_path("stale"));
        }
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    pub(crate) fn lock_file(&self) -> &File {
        &self.lock
    }

    pub(crate) fn temp_path(&self, purpose: &str) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.session.path().join(format!("{purpose}-{number}"))
    }

    pub(crate) fn path(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join(kind).join(key.hex())
    }

    fn encoded_path(&self, layer: &DiffId, encoding: &str) -> PathBuf {
        self.root.join("layers").join(format!("{}.{encoding}", layer.0.hex()))
    }

    pub(crate) fn read_file(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(StoreError::io("open", path))?,
        };
        let mut bytes = Vec::new();
        file.take(MAX_RECORD).read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
        Ok(Some(bytes))
    }

    pub(crate) fn read_record<T: serde::de::DeserializeOwned>(
        &self,
        kind: &str,
        key: &Digest,
    ) -> Result<Option<T>, StoreError> {
        self.read_record_at(&self.path(kind, key))
    }

    fn read_record_at<T: serde::de::DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<T>, StoreError> {
        let sealed = self.read_file(path)?.and_then(record::unseal);
        // What cannot be read is garbage of a crash or of another version: no record.
        Ok(sealed.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(crate) fn write_record(
        &self,
        kind: &str,
        key: &Digest,
        value: &impl serde::Serialize,
    ) -> Result<(), StoreError> {
        self.write_record_at(self.path(kind, key), value)
    }

    fn write_record_at(
        &self,
        path: PathBuf,
        value: &impl serde::Serialize,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| StoreError::io("encode", &path)(error.into()))?;
        self.publish(path, &record::seal(&bytes))
    }

    /// Publishes what `write` writes, sealed.
    fn publish_written(
        &self,
        path: PathBuf,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let temp = self.temp_path("record");
        let written = File::create(&temp).and_then(|mut file| record::seal_to(&mut file, write));
        written.map_err(StoreError::io("write", &temp))?;
        fs::rename(&temp, &path).map_err(StoreError::io("publish", path))
    }

    fn publish(&self, path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
        let temp = self.temp_path("record");
        fs::write(&temp, bytes).map_err(StoreError::io("write", &temp))?;
        fs::rename(&temp, &path).map_err(StoreError::io("publish", path))
    }
}
