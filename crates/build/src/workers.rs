//! Threads that do jobs beside the steps of a build.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tracing::Span;
use xbuild_model::thread;

/// A queue of jobs, and the threads that do them.
pub(crate) struct Workers<J> {
    queue: Arc<Queue<J>>,
    threads: Vec<JoinHandle<()>>,
}

/// The jobs that wait.
pub(crate) struct Queue<J> {
    perform: Box<dyn Fn(J) + Send + Sync>,
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    /// The jobs, each with whether it is urgent.
    waiting: VecDeque<(J, bool)>,
    /// Urgent jobs that wait or are being done.
    urgent: usize,
    is_over: bool,
}

impl<J> fmt::Debug for Workers<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl<J: Send + 'static> Workers<J> {
    /// Starts `count` threads called `name` that do jobs with `perform`, or as many as the kernel allows.
    pub(crate) fn start(
        name: &'static str,
        count: usize,
        perform: impl Fn(J) + Send + Sync + 'static,
    ) -> Self {
        let state = State { waiting: VecDeque::new(), urgent: 0, is_over: false };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        let queue = Arc::new(Queue { perform: Box::new(perform), state, changed });
        let start = |_| {
            let (queue, span) = (Arc::clone(&queue), Span::current());
            thread::start(name, move || span.in_scope(|| queue.work())).ok()
        };
        let threads = (0..count).map_while(start).collect();
        Self { queue, threads }
    }

    /// Returns the queue.
    pub(crate) fn queue(&self) -> &Arc<Queue<J>> {
        &self.queue
    }

    /// Waits until the urgent jobs are done. Without a thread they wait for [`finish`](Self::finish).
    pub(crate) fn wait_for_urgent(&self) {
        if !self.threads.is_empty() {
            let is_busy = |state: &mut State<J>| state.urgent > 0;
            drop(self.queue.changed.wait_while(self.queue.lock(), is_busy));
        }
    }

    /// Waits until all jobs are done. No more may come.
    pub(crate) fn finish(&mut self) {
        self.queue.end();
        for thread in self.threads.drain(..) {
            // A panic was printed already.
            let _ = thread.join();
        }
        // If no thread could be started, the jobs are done here.
        self.queue.work();
    }

    /// Drops the jobs that wait, and waits for those that are being done.
    pub(crate) fn abandon(mut self) {
        self.queue.clear();
        self.finish();
    }
}

impl<J> Drop for Workers<J> {
    /// The threads do what is left to do, and end.
    fn drop(&mut self) {
        self.queue.end();
    }
}

impl<J> Queue<J> {
    /// Adds a job after those that wait; before them if it is urgent.
    pub(crate) fn add(&self, job: J, is_urgent: bool) {
        let mut state = self.lock();
        match is_urgent {
            true => state.waiting.push_front((job, true)),
            false => state.waiting.push_back((job, false)),
        }
        state.urgent += usize::from(is_urgent);
        drop(state);
        self.changed.notify_all();
    }

    /// Adds a job unless as many as `limit` wait, or the work is over.
    pub(crate) fn offer(&self, job: J, limit: usize) {
        let mut state = self.lock();
        if state.waiting.len() < limit && !state.is_over {
            state.waiting.push_back((job, false));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Drops the jobs that wait.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        (state.urgent, state.is_over) =
            (state.urgent - state.waiting.iter().filter(|(_, is_urgent)| *is_urgent).count(), true);
        // Dropping them may take a while.
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
        self.changed.notify_all();
    }

    fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        // No thread panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does jobs until no more come.
    fn work(&self) {
        loop {
            let is_idle = |state: &mut State<J>| state.waiting.is_empty() && !state.is_over;
            let state = self.changed.wait_while(self.lock(), is_idle);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let Some((job, is_urgent)) = state.waiting.pop_front() else { return };
            drop(state);
            let _done = is_urgent.then(|| Done(self));
            (self.perform)(job);
        }
    }
}

/// An urgent job that is being done; dropping it, also by a panic, tells those who wait.
struct Done<'a, J>(&'a Queue<J>);

impl<J> Drop for Done<'_, J> {
    fn drop(&mut self) {
        self.0.lock().urgent -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn urgent_jobs_come_first_and_are_waited_for() {
        let done = Arc::new(Mutex::new(Vec::new()));
        let (go, wait) = mpsc::channel::<()>();
        let (list, wait) = (Arc::clone(&done), Mutex::new(wait));
        let mut workers = Workers::start("test", 1, move |job: u32| {
            wait.lock().unwrap().recv().unwrap();
            list.lock().unwrap().push(job);
        });
        let queue = Arc::clone(workers.queue());
        queue.add(0, false);
        // The first one is taken before the others come.
        while !queue.lock().waiting.is_empty() {
            std::thread::yield_now();
        }
        [(1, false), (2, true)].into_iter().for_each(|(job, is_urgent)| queue.add(job, is_urgent));
        queue.offer(3, 2);
        queue.offer(4, 3);
        (0..2).for_each(|_| go.send(()).unwrap());
        workers.wait_for_urgent();
        assert_eq!(*done.lock().unwrap(), [0, 2]);
        (0..2).for_each(|_| go.send(()).unwrap());
        workers.finish();
        assert_eq!(*done.lock().unwrap(), [0, 2, 1, 4]);
        queue.offer(5, 9);
        assert!(queue.lock().waiting.is_empty());
    }

    #[test]
    fn without_a_thread_the_jobs_are_done_in_the_end() {
        let (tell, told) = mpsc::channel();
        let mut workers = Workers::start("test", 0, move |job: u32| tell.send(job).unwrap());
        workers.queue().add(1, true);
        workers.wait_for_urgent();
        assert!(told.try_recv().is_err());
        workers.finish();
        assert_eq!(told.try_recv(), Ok(1));
    }

    #[test]
    fn a_job_that_panics_or_is_dropped_is_not_waited_for() {
        let (tell, told) = mpsc::channel();
        let workers = Workers::start("test", 1, move |job: u32| {
            tell.send(job).unwrap();
            std::thread::sleep(Duration::from_millis(20));
            assert!(job > 0, "as the test wants it");
        });
        workers.queue().add(0, true);
        assert_eq!(told.recv(), Ok(0));
        workers.wait_for_urgent();
        workers.queue().add(1, true);
        workers.abandon();
        assert!(told.try_recv().is_err());
    }
}
