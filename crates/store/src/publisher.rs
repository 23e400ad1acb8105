//! Publishing blobs without waiting for the disk.
//!
//! A blob gets its name when its data is on the disk. A thread waits for that, so that the next
//! step begins meanwhile. Whoever asks this store for a blob that is on its way waits for it; to
//! other processes, and after a kill, it is not there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::blob::Writeback;
use crate::{Background, StoreError};

/// Publishes blobs, one after the other. Dropping it waits for those that are on their way.
#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    jobs: Background<Job>,
}

impl Default for Publisher {
    fn default() -> Self {
        let shared = Arc::<Shared>::default();
        let jobs = Background::new("publish", {
            let shared = Arc::clone(&shared);
            move |job| shared.perform(job)
        });
        Self { shared, jobs }
    }
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Sizes in bytes of the blobs that are on their way, by path.
    pending: HashMap<PathBuf, u64>,
    /// The first failure that nobody was told of.
    failure: Option<StoreError>,
}

/// A blob that is written and has no name yet.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) file: File,
    pub(crate) writeback: Writeback,
    pub(crate) temp: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) size: u64,
}

impl Job {
    fn publish(mut self) -> Result<(), StoreError> {
        let synced = self.writeback.join().and_then(|()| self.file.sync_data());
        let synced = synced.map_err(StoreError::io("sync", &self.temp));
        let published = synced.and_then(|()| {
            fs::rename(&self.temp, &self.target).map_err(StoreError::io("publish", self.target))
        });
        if published.is_err() {
            // If it fails the next session sweeps it up.
            let _ = fs::remove_file(&self.temp);
        }
        published
    }
}

impl Publisher {
    /// Begins to publish a blob.
    ///
    /// **Errors** — that of an earlier blob, if nobody was told of it yet.
    pub(crate) fn publish(&self, job: Job) -> Result<(), StoreError> {
        {
            let mut state = self.shared.lock();
            if let Some(failure) = state.failure.take() {
                let _ = fs::remove_file(&job.temp);
                return Err(failure);
            }
            state.pending.insert(job.target.clone(), job.size);
        }
        self.jobs.send(job);
        Ok(())
    }

    /// Returns the size of a blob that is on its way.
    pub(crate) fn pending(&self, target: &Path) -> Option<u64> {
        self.shared.lock().pending.get(target).copied()
    }

    /// Waits for a blob, if it is on its way.
    ///
    /// **Errors** — the first failure of all that were on their way.
    pub(crate) fn wait(&self, target: &Path) -> Result<(), StoreError> {
        self.shared.wait_while(|state| state.pending.contains_key(target))
    }

    /// Waits for all blobs that are on their way.
    ///
    /// **Errors** — the first failure.
    pub(crate) fn wait_for_all(&self) -> Result<(), StoreError> {
        self.shared.wait_while(|state| !state.pending.is_empty())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, job: Job) {
        let target = job.target.clone();
        let result = job.publish();
        let mut state = self.lock();
        state.pending.remove(&target);
        if let Err(failure) = result {
            state.failure.get_or_insert(failure);
        }
        self.changed.notify_all();
    }

    fn wait_while(&self, busy: impl Fn(&State) -> bool) -> Result<(), StoreError> {
        let state = self.changed.wait_while(self.lock(), |state| busy(state));
        match state.unwrap_or_else(PoisonError::into_inner).failure.take() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(folder: &Path, name: &str, target: &Path) -> Job {
        let temp = folder.join(name);
        fs::write(&temp, name).unwrap();
        let file = File::open(&temp).unwrap();
        let target = target.to_owned();
        Job { file, writeback: Writeback::default(), temp, target, size: name.len() as u64 }
    }

    #[test]
    fn blobs_are_there_when_they_were_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::default();
        let targets: Vec<PathBuf> = (0..20).map(|n| folder.path().join(format!("t{n}"))).collect();
        for (number, target) in targets.iter().enumerate() {
            publisher.publish(job(folder.path(), &format!("b{number}"), target)).unwrap();
        }
        publisher.wait(&targets[7]).unwrap();
        assert_eq!(fs::read(&targets[7]).unwrap(), b"b7");
        publisher.wait_for_all().unwrap();
        assert!(
            targets.iter().all(|target| target.exists() && publisher.pending(target).is_none())
        );
    }

    #[test]
    fn a_failure_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::default();
        let target = folder.path().join("missing/t");
        publisher.publish(job(folder.path(), "b", &target)).unwrap();
        assert!(matches!(publisher.wait(&target), Err(StoreError::Io { action: "publish", .. })));
        assert!(!folder.path().join("b").exists());
        publisher.wait_for_all().unwrap();
    }

    #[test]
    fn dropping_it_waits() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("t");
        let publisher = Publisher::default();
        publisher.publish(job(folder.path(), "b", &target)).unwrap();
        drop(publisher);
        assert!(target.exists());
    }
}
