//! Removing folder trees that may hold files of other owners.

use std::fmt;
use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use xbuild_model::seam::Namespace;
use xbuild_model::{FailureKind, StepFailure};
use xbuild_store::TempFolder;

use crate::TaskError;
use crate::tasks::{REMOVE, RemoveRequest, remove_path};

/// Removes the trees at trusted paths: as plain user, and what that leaves inside the user
/// namespace, which is started for it if need be. What is not there is no error.
pub fn trees(namespace: &dyn Namespace, paths: &[PathBuf]) -> Result<(), StepFailure> {
    let left: Vec<PathBuf> =
        paths.iter().filter(|path| remove_path(path).is_err()).cloned().collect();
    if left.is_empty() {
        return Ok(());
    }
    let request = serde_json::to_vec(&RemoveRequest { paths: left })
        .map_err(|source| StepFailure::new(FailureKind::Internal, TaskError::Request { source }))?;
    namespace.start(REMOVE, request, Vec::new())?.wait()?;
    Ok(())
}

/// Removes temporary folders on a thread, so that the next step need not wait for it. Dropping it
/// waits for what is left.
pub(crate) struct Sweeper {
    namespace: Arc<dyn Namespace>,
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    jobs: Sender<TempFolder>,
    thread: JoinHandle<()>,
}

impl fmt::Debug for Sweeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sweeper").finish_non_exhaustive()
    }
}

impl Sweeper {
    /// Makes one that goes through `namespace` for what a plain user cannot remove.
    pub(crate) fn new(namespace: Arc<dyn Namespace>) -> Self {
        Self { namespace, worker: Mutex::default() }
    }

    /// Removes a folder, soon.
    pub(crate) fn remove(&self, folder: TempFolder) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            *worker = self.start();
        }
        let rejected = match &*worker {
            Some(worker) => worker.jobs.send(folder).err().map(|mpsc::SendError(folder)| folder),
            None => Some(folder),
        };
        // Without a thread for it, here and now.
        if let Some(folder) = rejected {
            remove(&*self.namespace, &folder);
        }
    }

    fn start(&self) -> Option<Worker> {
        let (jobs, queue) = mpsc::channel::<TempFolder>();
        let namespace = Arc::clone(&self.namespace);
        let work = move || queue.into_iter().for_each(|folder| remove(&*namespace, &folder));
        let thread = thread::Builder::new().name("sweep".to_owned()).spawn(work).ok()?;
        Some(Worker { jobs, thread })
    }
}

fn remove(namespace: &dyn Namespace, folder: &TempFolder) {
    // If it fails the folder stays, as if this process had been killed: the next one to prune the
    // store removes it.
    let _ = trees(namespace, &[folder.path().to_owned()]);
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Worker { jobs, thread }) = worker {
            drop(jobs);
            // If it panicked, that was printed.
            let _ = thread.join();
        }
    }
}
