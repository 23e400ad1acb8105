//! Background work, on one thread.

use std::fmt;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tracing::Span;
use xbuild_model::thread;

/// Does jobs one after the other, on a thread that starts with the first job. Dropping it waits for
/// the remaining jobs.
pub struct Background<J> {
    perform: Arc<dyn Fn(J) + Send + Sync>,
    /// The name of the thread.
    name: &'static str,
    worker: Mutex<Option<Worker<J>>>,
}

#[derive(Debug)]
struct Worker<J> {
    /// Each job with the span of its sender.
    jobs: Sender<(Span, J)>,
    thread: JoinHandle<()>,
}

impl<J> fmt::Debug for Background<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Background").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<J: Send + 'static> Background<J> {
    /// Returns a worker that does its jobs with `perform`, on a thread called `name`.
    pub fn new(name: &'static str, perform: impl Fn(J) + Send + Sync + 'static) -> Self {
        Self { perform: Arc::new(perform), name, worker: Mutex::new(None) }
    }

    /// Adds a job.
    pub fn send(&self, job: J) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            *worker = self.start();
        }
        let rejected = match &*worker {
            Some(worker) => {
                let sent = worker.jobs.send((Span::current(), job));
                sent.err().map(|mpsc::SendError((_, job))| job)
            }
            None => Some(job),
        };
        // If no thread could be started, the job is done here.
        if let Some(job) = rejected {
            (self.perform)(job);
        }
    }

    fn start(&self) -> Option<Worker<J>> {
        let (jobs, queue) = mpsc::channel::<(Span, J)>();
        let perform = Arc::clone(&self.perform);
        let work = move || {
            queue.into_iter().for_each(|(span, job)| span.in_scope(|| perform(job)));
        };
        let thread = thread::start(self.name, work).ok()?;
        Some(Worker { jobs, thread })
    }
}

impl<J> Drop for Background<J> {
    fn drop(&mut self) {
        let worker = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Worker { jobs, thread }) = worker {
            drop(jobs);
            // A panic was printed when it happened.
            let _ = thread.join();
        }
    }
}
