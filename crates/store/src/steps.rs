//! The results of steps, and what the steps were made of when they last ran.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use xbuild_model::seam::{LastRuns, StepCache};
use xbuild_model::{Digest, StepFailure, StepRecord};

use crate::{Store, StoreError, record};

impl Store {
    /// Returns the result of the step with this key, if one is recorded.
    pub fn cached(&self, key: &Digest) -> Result<Option<StepRecord>, StoreError> {
        let found = self.read_record("cache", key)?;
        if found.is_some() {
            // The time of the last use, for `xbuild du` only.
            let _ = touch(&self.path("cache", key));
        }
        Ok(found)
    }

    /// Records the result of a step.
    pub fn put_cached(&self, key: &Digest, record: &StepRecord) -> Result<(), StoreError> {
        self.write_record("cache", key, record)
    }

    /// Returns the bytes that were kept for the step in the place `key` when it last ran.
    pub fn last_seen(&self, key: &Digest) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_file(&self.path("last-seen", key))?.and_then(record::unseal))
    }

    /// Keeps bytes for the step in the place `key`, which ran. Only messages depend on them: if
    /// two builds write at the same time they may be lost.
    pub fn put_last_seen(&self, key: &Digest, step: &[u8]) -> Result<(), StoreError> {
        let path = self.path("last-seen", key);
        overwrite(&path, &record::seal(step)).map_err(StoreError::io("write", path))
    }
}

impl StepCache for Store {
    fn find(&self, keys: &[Digest]) -> Result<Vec<Option<StepRecord>>, StepFailure> {
        Ok(keys.iter().map(|key| self.cached(key)).collect::<Result<_, _>>()?)
    }

    fn remember(&self, key: &Digest, result: &StepRecord) -> Result<(), StepFailure> {
        Ok(self.put_cached(key, result)?)
    }
}

impl LastRuns for Store {
    fn last_run(&self, place: &Digest) -> Result<Option<Vec<u8>>, StepFailure> {
        Ok(self.last_seen(place)?)
    }

    fn keep_run(&self, place: &Digest, step: &[u8]) -> Result<(), StepFailure> {
        Ok(self.put_last_seen(place, step)?)
    }
}

/// Gives a file its contents in place. A new file and a rename take a journalling file system
/// up to a hundred times as long, for each step that runs again. The price: contents that a crash
/// or another writer tears are lost.
fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let before = file.metadata()?.len();
    file.write_all(bytes)?;
    let length = bytes.len() as u64;
    if before > length { file.set_len(length) } else { Ok(()) }
}

fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(std::time::SystemTime::now())
}
