//! Doing several things at the same time.

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Span;
use xbuild_model::thread;

/// Returns how many threads can compute at the same time. The answer is kept, since it takes a
/// dozen system calls.
pub fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, NonZero::get))
}

/// Calls `work` with each item, up to `at_once` at the same time, and returns the results in the
/// order of the items.
///
/// **Errors** — one of the errors of `work`; after an error, no further item is begun.
pub fn each<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    at_once: usize,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    if items.len() < 2 || at_once < 2 {
        return items.into_iter().map(work).collect();
    }
    let count = items.len();
    let queue = Mutex::new(items.into_iter().enumerate());
    let results = Mutex::new((0..count).map(|_| None).collect::<Vec<Option<Result<R, E>>>>());
    let failed = AtomicBool::new(false);
    let span = Span::current();
    thread::share("items", at_once.min(count), || {
        let _entered = span.enter();
        while !failed.load(Ordering::Relaxed) {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((position, item)) = next else { break };
            let result = work(item);
            if result.is_err() {
                failed.store(true, Ordering::Relaxed);
            }
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            results[position] = Some(result);
        }
    });
    // Results are missing only if another item failed.
    results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let doubled = each((0..50).collect(), 3, |n: i32| Ok::<_, ()>(n * 2)).unwrap();
        assert_eq!(doubled, (0..50).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_it() {
        let begun = Mutex::new(0);
        let result = each((0..1000).collect(), 3, |n: i32| {
            *begun.lock().unwrap() += 1;
            if n == 0 { Err("first") } else { Ok(()) }
        });
        assert_eq!(result, Err("first"));
        assert!(*begun.lock().unwrap() <= 1000);
    }
}
