//! The same work on many items, on a few threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tracing::Span;
use xbuild_model::thread;

/// Does `work` on each item, on up to `jobs` items at once, and returns the first error. No item is
/// begun after an error.
pub fn for_each<T: Sync, E: Send>(
    jobs: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let run = || {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = work(item) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                next.store(items.len(), Ordering::Relaxed);
            }
        }
    };
    let span = Span::current();
    thread::share("blobs", jobs.min(items.len()), || span.in_scope(run));
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_everything_once_and_stops_at_an_error() {
        let items: Vec<usize> = (0..100).collect();
        for jobs in [0, 1, 7, 200] {
            let sum = AtomicUsize::new(0);
            let done: Result<(), ()> = for_each(jobs, &items, |item| {
                sum.fetch_add(*item, Ordering::Relaxed);
                Ok(())
            });
            assert_eq!((done, sum.into_inner()), (Ok(()), 4950));
        }
        let failed = for_each(3, &items, |item| if *item == 10 { Err(*item) } else { Ok(()) });
        assert_eq!(failed, Err(10));
        assert_eq!(for_each(3, &[] as &[u8], |_| Err(())), Ok(()));
    }
}
