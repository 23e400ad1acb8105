//! Publishing blobs without waiting for the disk.
//!
//! A blob gets its name once its data is on the disk. A thread waits for the disk, so that the next
//! step can begin. Callers who ask this store for an unfinished blob wait for it; other processes
//! do not see it, and a kill loses it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::entries::replace;
use crate::pull_lock::PullLock;
use crate::writeback::Writeback;
use crate::{Background, Pending, StoreError};

/// Publishes blobs, one after the other. Dropping it waits for the unfinished ones.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// The sizes in bytes of unfinished blobs, by path.
    pending: Arc<Pending<PathBuf, u64, Failed>>,
    jobs: Background<Job>,
}

impl Default for Publisher {
    fn default() -> Self {
        let pending = Arc::<Pending<_, _, _>>::default();
        let jobs = Background::new("publish", {
            let pending = Arc::clone(&pending);
            move |job: Job| {
                let target = job.target.clone();
                pending.end(&target, job.publish());
            }
        });
        Self { pending, jobs }
    }
}

/// A blob that is written but has no name yet.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) file: File,
    pub(crate) writeback: Writeback,
    pub(crate) temp: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) size: u64,
    /// Held until the blob has its name.
    pub(crate) pull: Option<PullLock>,
}

/// Why a blob has no name. Everybody who waits is told.
#[derive(Debug, Clone)]
struct Failed {
    action: &'static str,
    path: PathBuf,
    source: Arc<io::Error>,
}

impl Failed {
    fn new(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source: Arc::new(source) }
    }
}

impl From<Failed> for StoreError {
    fn from(failed: Failed) -> Self {
        let Failed { action, path, source } = failed;
        let source = match source.raw_os_error() {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::new(source.kind(), source),
        };
        Self::Io { action, path, source }
    }
}

impl Job {
    fn publish(mut self) -> Result<(), Failed> {
        let synced = self.writeback.join().and_then(|()| self.file.sync_data());
        let synced = synced.map_err(Failed::new("sync", &self.temp));
        let published = synced.and_then(|()| {
            replace(&self.temp, &self.target).map_err(Failed::new("publish", &self.target))
        });
        if published.is_err() {
            // If this fails, the next session removes the file.
            let _ = fs::remove_file(&self.temp);
        }
        drop(self.pull);
        published
    }
}

impl Publisher {
    /// Starts to publish a blob.
    ///
    /// **Errors** — that of an earlier blob.
    pub(crate) fn publish(&self, job: Job) -> Result<(), StoreError> {
        if let Err(failure) = self.pending.begin(job.target.clone(), job.size, usize::MAX) {
            let _ = fs::remove_file(&job.temp);
            return Err(failure.into());
        }
        self.jobs.send(job);
        Ok(())
    }

    /// Returns the size in bytes of an unfinished blob.
    pub(crate) fn pending(&self, target: &Path) -> Option<u64> {
        self.pending.get(target)
    }

    /// Waits for a blob, if it is unfinished.
    ///
    /// **Errors** — the first failure of any unfinished blob.
    pub(crate) fn wait(&self, target: &Path) -> Result<(), StoreError> {
        Ok(self.pending.wait(target)?)
    }

    /// Waits for all unfinished blobs.
    ///
    /// **Errors** — the first failure.
    pub(crate) fn wait_for_all(&self) -> Result<(), StoreError> {
        Ok(self.pending.wait_for_all()?)
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
        Job {
            file,
            writeback: Writeback::default(),
            temp,
            target,
            size: name.len() as u64,
            pull: None,
        }
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
    fn a_failure_is_told_to_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::default();
        let target = folder.path().join("missing/t");
        publisher.publish(job(folder.path(), "b", &target)).unwrap();
        let is_cause = |result| matches!(result, Err(StoreError::Io { action: "publish", path, .. }) if path == target);
        assert!(is_cause(publisher.wait(&target)));
        assert!(!folder.path().join("b").exists());
        assert!(is_cause(publisher.wait(Path::new("other"))));
        assert!(is_cause(publisher.publish(job(folder.path(), "c", &target))));
        assert!(is_cause(publisher.wait_for_all()));
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
