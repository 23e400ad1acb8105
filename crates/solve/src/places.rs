//! The places for steps that run at once, in all builds that are solved at the same time.
//!
//! As within one build, an emulated step waits for others, and one place is kept free of emulated
//! steps as long as some build has work that does not wait for one.

use std::num::NonZeroUsize;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The places.
#[derive(Debug)]
pub(crate) struct Places {
    state: Mutex<State>,
    changed: Condvar,
    /// The most emulated steps at once while native work is left.
    emulated_limit: usize,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Emulated steps that have a place.
    emulated: usize,
    /// Native steps that wait for a place.
    native_waiting: usize,
    /// Unfinished native steps of all builds.
    native_left: usize,
}

impl Places {
    pub(crate) fn new(jobs: NonZeroUsize) -> Self {
        let jobs = jobs.get();
        let state = State { free: jobs, emulated: 0, native_waiting: 0, native_left: 0 };
        let (state, changed) = (Mutex::new(state), Condvar::new());
        Self { state, changed, emulated_limit: jobs.saturating_sub(1).max(1) }
    }

    /// Waits for a place, which is free again when the result is dropped. Every step that has one must
    /// come to an end without a second place.
    pub(crate) fn take(&self, is_emulated: bool) -> Place<'_> {
        let mut state = self.lock();
        state.native_waiting += usize::from(!is_emulated);
        let is_full = |state: &mut State| match is_emulated {
            false => state.free == 0,
            true => {
                let is_kept = state.native_left > 0 && state.emulated >= self.emulated_limit;
                state.free == 0 || state.native_waiting > 0 || is_kept
            }
        };
        let mut state =
            self.changed.wait_while(state, is_full).unwrap_or_else(PoisonError::into_inner);
        state.native_waiting -= usize::from(!is_emulated);
        state.emulated += usize::from(is_emulated);
        state.free -= 1;
        drop(state);
        // An emulated step may have waited for this one to be placed.
        self.changed.notify_all();
        Place { places: self, is_emulated }
    }

    /// Announces the native steps of a build.
    pub(crate) fn expect(&self, native: usize) -> Expected<'_> {
        self.lock().native_left += native;
        Expected { places: self, left: Mutex::new(native) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    places: &'a Places,
    is_emulated: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.free += 1;
        state.emulated -= usize::from(self.is_emulated);
        drop(state);
        self.places.changed.notify_all();
    }
}

/// The native steps that a build has left. None are when this is dropped.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    places: &'a Places,
    left: Mutex<usize>,
}

impl Expected<'_> {
    /// Takes note of the end of one.
    pub(crate) fn one_less(&self) {
        self.take(|left| left.min(1));
    }

    fn take(&self, count: impl Fn(usize) -> usize) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count(*left);
        *left -= count;
        self.places.lock().native_left -= count;
        drop(left);
        self.places.changed.notify_all();
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.take(|left| left);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn places(jobs: usize) -> Places {
        Places::new(NonZeroUsize::new(jobs).unwrap())
    }

    #[test]
    fn no_more_steps_have_a_place_than_there_are() {
        let (places, at_once, most) = (places(2), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (places, at_once, most) = (&places, &at_once, &most);
                scope.spawn(move || {
                    let _place = places.take(number % 2 == 0);
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    at_once.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn one_place_is_free_of_emulated_steps_while_native_work_is_left() {
        let places = places(2);
        let expected = places.expect(1);
        let first = places.take(true);
        std::thread::scope(|scope| {
            let second = scope.spawn(|| drop(places.take(true)));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!second.is_finished());
            // Native work has the other place at once.
            drop(places.take(false));
            assert!(!second.is_finished());
            expected.one_less();
            second.join().unwrap();
        });
        drop((first, expected));
        let state = places.lock();
        assert_eq!((state.free, state.native_left), (2, 0));
    }
}
