//! Starting threads: the only place that asks the kernel for one.
//!
//! The kernel refuses a thread where a limit of the user or of the container is reached. Two rules
//! follow. Work that is merely shared is done by the threads that there are, by the calling one at
//! least: [`share`]. Work that needs a thread of its own ends with a [`ThreadError`]: [`start`],
//! [`start_in`]. Whoever gets the error leaves nobody waiting for that thread.
//!
//! **Source** — `pthread_create(3)`, `clone(2)` § ERRORS.

use std::io;
use std::thread::{self, Builder, JoinHandle, Scope, ScopedJoinHandle};

/// Bytes of a thread's stack. It does not depend on `ulimit -s` or on the environment. Nothing that
/// threads do recurses over input, so 2 MiB leave much room; they are taken only when they are used.
const STACK: usize = 2 << 20;

/// The kernel refused a thread.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread ({name})")]
pub struct ThreadError {
    /// The name of the thread.
    pub name: &'static str,
    /// The kernel's reason.
    #[source]
    pub source: io::Error,
}

impl From<ThreadError> for io::Error {
    /// Keeps the error: [`machine_fault`](crate::machine_fault) finds it in its wrapping.
    fn from(error: ThreadError) -> Self {
        Self::other(error)
    }
}

fn builder(name: &'static str) -> Builder {
    Builder::new().name(name.to_owned()).stack_size(STACK)
}

/// Starts a thread.
///
/// **Errors** — if the kernel refuses it; `work` is dropped then.
pub fn start<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ThreadError> {
    builder(name).spawn(work).map_err(|source| ThreadError { name, source })
}

/// Starts a thread that ends before `scope` does.
///
/// **Errors** — if the kernel refuses it; `work` is dropped then.
pub fn start_in<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, ThreadError> {
    builder(name).spawn_scoped(scope, work).map_err(|source| ThreadError { name, source })
}

/// Calls `work` on the calling thread and on up to `threads - 1` others, and returns when all of
/// these calls have. Each call should take its share of the work from a common queue, and return
/// when nothing is left: if the kernel refuses threads, the others do all of it.
pub fn share(name: &'static str, threads: usize, work: impl Fn() + Sync) {
    thread::scope(|scope| {
        for _ in 1..threads {
            if start_in(scope, name, &work).is_err() {
                break;
            }
        }
        work();
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn shared_work_is_done_once_by_any_number_of_threads() {
        for threads in [0, 1, 2, 9] {
            let (queue, done) = (Mutex::new(0..100), Mutex::new(Vec::new()));
            share("test", threads, || {
                while let Some(item) = { queue.lock().unwrap().next() } {
                    done.lock().unwrap().push(item);
                }
            });
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..100).collect::<Vec<_>>(), "{threads}");
        }
    }

    #[test]
    fn threads_have_their_name_and_return_what_they_made() {
        let name = || thread::current().name().map(str::to_owned);
        assert_eq!(start("own", name).unwrap().join().unwrap().as_deref(), Some("own"));
        let in_scope = thread::scope(|scope| start_in(scope, "lent", name).unwrap().join());
        assert_eq!(in_scope.unwrap().as_deref(), Some("lent"));
    }
}
