//! Opening the store, and the paths in it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::FlockOperation;
use xbuild_model::Digest;

use crate::entries::{open_file, replace};
use crate::gate::{Gate, OnWait};
use crate::growth::Growth;
use crate::pins::{Noted, Pins};
use crate::publisher::Publisher;
use crate::soundness::Soundness;
use crate::temp::{self, Session};
use crate::{SelectionRecord, StoreError, TempFolder, boot, home, record};

/// The largest record or index that is read, in bytes: one million files make about 200 MiB.
const MAX_RECORD: u64 = 1 << 30;

/// An open store. What it has found in it is pinned: nobody removes it as long as the store is open.
#[derive(Debug)]
pub struct Store {
    /// Dropped first, because it may still be at work in the session's folder.
    publisher: Publisher,
    root: PathBuf,
    /// Held shared: an older xbuild, which knows no pins, removes nothing meanwhile.
    pub(crate) lock: Gate,
    pins: Pins,
    growth: Growth,
    session: Session,
    counter: AtomicU64,
    boot: String,
    soundness: Soundness,
}

impl Drop for Store {
    fn drop(&mut self) {
        // A kill makes the total unknown instead.
        self.close();
    }
}

impl Store {
    /// Opens the store in the folder `root`, made if it is missing, and removes what killed
    /// builds left in it.
    ///
    /// **Errors** — a folder that is no store, or cannot be trusted, is refused and stays as it is.
    /// Waits for a running prune of an older xbuild, so [`StoreError::Busy`] is never returned.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let nobody: OnWait = Arc::new(|_| {});
        Self::open_telling(root, &nobody)
    }

    /// Opens the store as [`open`](Self::open) does. `on_wait` is told whenever the store waits for long for
    /// another process.
    pub fn open_telling(root: &Path, on_wait: &OnWait) -> Result<Self, StoreError> {
        let [lock, gate] = home::open(root)?;
        let lock = Gate::new(lock, root.join(home::LOCK), on_wait);
        let gate = Gate::new(gate, root.join(home::GATE), on_wait);
        lock.lock(FlockOperation::LockShared).map_err(StoreError::io("lock", lock.path()))?;
        temp::sweep(root);
        // Whoever removes something must not meet a session whose lock file is empty.
        let started = gate.through(FlockOperation::LockShared, || {
            let session = Session::start(&root.join("tmp"))?;
            let noted = Noted::begin(&session).map_err(StoreError::io("open", session.path()))?;
            Ok::<_, StoreError>((noted, session))
        });
        let (noted, session) = started.map_err(StoreError::io("lock", gate.path()))??;
        let pins = Pins::new(root, gate, &session, noted);
        let boot = boot::name(root)?;
        let store = Self {
            root: root.to_owned(),
            lock,
            pins,
            growth: Growth::default(),
            session,
            counter: AtomicU64::new(0),
            boot,
            soundness: Soundness::default(),
            publisher: Publisher::default(),
        };
        store.retire_folders();
        Ok(store)
    }

    /// Opens the store in the folder `root` if there is one; `None`, and nothing is made, if the folder
    /// is missing or empty.
    ///
    /// **Errors** — those of [`open`](Self::open).
    pub fn open_existing(root: &Path, on_wait: &OnWait) -> Result<Option<Self>, StoreError> {
        home::check_name(root)?;
        home::is_there(root).then(|| Self::open_telling(root, on_wait)).transpose()
    }

    /// Returns the folder of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the remembered hashes of the files of the folder `key`, the bytes that were written.
    pub fn file_hashes(&self, key: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_file(&self.path("file-hashes", key))?.and_then(record::unseal))
    }

    /// Remembers hashes of the files of the folder `key`. `write` writes them piece by piece, since
    /// there may be many.
    pub fn put_file_hashes(
        &self,
        key: &Digest,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        self.publish_written(self.path("file-hashes", key), write)
    }

    /// Returns the outcome of the COPY `key` when it was last selected, if that is recorded.
    pub fn selection(&self, key: &Digest) -> Result<Option<SelectionRecord>, StoreError> {
        self.read_record("selections", key)
    }

    /// Records the outcome of a COPY's selection.
    pub fn put_selection(&self, key: &Digest, record: &SelectionRecord) -> Result<(), StoreError> {
        self.write_record("selections", key, record)
    }

    /// Makes an empty file without a name for work in progress, to write and to read.
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

    /// Moves folders of other boots out of the way, to be removed like any leftover.
    fn retire_folders(&self) {
        for path in boot::stale(&self.root, &self.boot) {
            // Another build may have moved it first.
            let _ = fs::rename(&path, self.temp_path("stale"));
        }
    }

    pub(crate) fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    pub(crate) fn soundness(&self) -> &Soundness {
        &self.soundness
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.pins
    }

    /// Pins what a digest stands for.
    pub(crate) fn pin(&self, digest: &Digest) -> Result<(), StoreError> {
        self.pins.pin(&[digest])
    }

    pub(crate) fn growth(&self) -> &Growth {
        &self.growth
    }

    pub(crate) fn temp_path(&self, purpose: &str) -> PathBuf {
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        self.session.path().join(format!("{purpose}-{number}"))
    }

    pub(crate) fn path(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join(kind).join(key.hex())
    }

    pub(crate) fn read_file(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(file) = open_file(path)? else { return Ok(None) };
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

    pub(crate) fn read_record_at<T: serde::de::DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<T>, StoreError> {
        let sealed = self.read_file(path)?.and_then(record::unseal);
        // A record that a crash damaged or another version wrote counts as missing.
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

    pub(crate) fn write_record_at(
        &self,
        path: PathBuf,
        value: &impl serde::Serialize,
    ) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(value)
            .map_err(|error| StoreError::io("encode", &path)(error.into()))?;
        self.publish(path, &record::seal(&bytes))
    }

    /// Publishes the bytes that `write` writes as a sealed record.
    pub(crate) fn publish_written(
        &self,
        path: PathBuf,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let temp = self.temp_path("record");
        let written = File::create(&temp).and_then(|mut file| record::seal_to(&mut file, write));
        written.map_err(StoreError::io("write", &temp))?;
        self.growth.file(fs::metadata(&temp).map_or(0, |meta| meta.len()));
        replace(&temp, &path).map_err(StoreError::io("publish", path))
    }

    fn publish(&self, path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
        let temp = self.temp_path("record");
        fs::write(&temp, bytes).map_err(StoreError::io("write", &temp))?;
        self.growth.file(bytes.len() as u64);
        replace(&temp, &path).map_err(StoreError::io("publish", path))
    }
}
