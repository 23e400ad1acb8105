//! Steps that several builds have in common: one build does such a step, the others wait for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use xbuild_model::{Cancel, Cancelled, Digest, StepRecord};

/// The steps of all builds that are solved at the same time, each by its identity.
#[derive(Debug, Default)]
pub(crate) struct Claims(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    steps: HashMap<Digest, Entry>,
    /// The identity of the step that began last to make the result of a key.
    makers: HashMap<Digest, Digest>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Whether a build looks it up or does it.
    is_taken: bool,
    /// The build in which it failed. Others wait: that build fails, which ends them, or it begins
    /// again.
    failed_in: Option<usize>,
    /// Its result, if one of these builds made it.
    made: Option<Made>,
}

/// The result of a step that ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// The key that it is remembered under.
    pub(crate) key: Digest,
    /// The result.
    pub(crate) record: StepRecord,
}

/// The right to do a step. If it is dropped without [`done`](Self::done), the step has failed.
#[derive(Debug)]
pub(crate) struct Claim {
    inner: Arc<Inner>,
    step: Digest,
    build: usize,
    made: Option<Made>,
    is_done: bool,
}

impl Claims {
    /// Waits until no other build is at work on a step, and takes it for the build with this number.
    ///
    /// **Errors** — the work of the build is to end.
    pub(crate) fn take(
        &self,
        step: &Digest,
        build: usize,
        cancel: &Cancel,
    ) -> Result<Claim, Cancelled> {
        let is_cancelled = Arc::new(AtomicBool::new(false));
        let (inner, flag) = (Arc::clone(&self.0), Arc::clone(&is_cancelled));
        // The hook takes the lock of the state, so nobody may use `cancel` under that lock.
        let _hook = cancel.on_cancel(move || {
            let _state = inner.lock();
            flag.store(true, Ordering::Relaxed);
            inner.changed.notify_all();
        });
        let is_cancelled = || is_cancelled.load(Ordering::Relaxed);
        let is_busy = |state: &mut State| {
            let is_busy = |entry: &Entry| {
                entry.is_taken || entry.failed_in.is_some_and(|failed| failed != build)
            };
            !is_cancelled() && state.steps.get(step).is_some_and(is_busy)
        };
        let state = self.0.changed.wait_while(self.0.lock(), is_busy);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        if is_cancelled() {
            return Err(Cancelled);
        }
        let entry = state.steps.entry(step.clone()).or_default();
        (entry.is_taken, entry.failed_in) = (true, None);
        let (inner, step, made) = (Arc::clone(&self.0), step.clone(), entry.made.clone());
        Ok(Claim { inner, step, build, made, is_done: false })
    }

    /// Says that a build begins, perhaps again: others need not wait for what failed in it.
    pub(crate) fn renew(&self, build: usize) {
        let mut state = self.0.lock();
        let failed = state.steps.values_mut().filter(|entry| entry.failed_in == Some(build));
        failed.for_each(|entry| entry.failed_in = None);
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at any time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Claim {
    /// Returns the result, if another build has made it.
    pub(crate) fn made(&self) -> Option<&Made> {
        self.made.as_ref()
    }

    /// Says that the step begins to make the result of a key. Nobody may find that result before.
    pub(crate) fn makes(&self, key: &Digest) {
        self.inner.lock().makers.insert(key.clone(), self.step.clone());
    }

    /// Returns whether the result that is found under a key may be that of a step of another identity,
    /// which has made it in one of these builds. Ask after the result was found, not before.
    pub(crate) fn is_of_another(&self, key: &Digest) -> bool {
        self.inner.lock().makers.get(key).is_some_and(|maker| *maker != self.step)
    }

    /// Ends the work on the step; `made` is the result, if it was made now.
    pub(crate) fn done(mut self, made: Option<Made>) {
        self.is_done = true;
        let Some(made) = made else { return };
        if let Some(entry) = self.inner.lock().steps.get_mut(&self.step) {
            entry.made = Some(made);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(entry) = self.inner.lock().steps.get_mut(&self.step) {
            entry.is_taken = false;
            entry.failed_in = (!self.is_done).then_some(self.build);
        }
        self.inner.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xbuild_model::Chain;

    use super::*;

    fn made() -> Made {
        let (created, description) = (String::new(), String::new());
        let record = StepRecord { added: Chain::default(), created, description };
        Made { key: Digest::of(b"key"), record }
    }

    #[test]
    fn who_waits_gets_the_result() {
        let (claims, step, cancel) = (Claims::default(), Digest::of(b"step"), Cancel::default());
        let claim = claims.take(&step, 0, &cancel).unwrap();
        assert_eq!(claim.made(), None);
        // Another step is nobody's.
        claims.take(&Digest::of(b"other"), 1, &cancel).unwrap().done(None);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| claims.take(&step, 1, &cancel).unwrap());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            claim.done(Some(made()));
            let claim = waiting.join().unwrap();
            assert_eq!(claim.made(), Some(&made()));
            claim.done(None);
        });
        assert_eq!(claims.take(&step, 2, &cancel).unwrap().made(), Some(&made()));
    }

    /// Otherwise it could be taken for what both find.
    #[test]
    fn a_result_has_a_maker_before_it_is_there() {
        let (claims, key, cancel) = (Claims::default(), Digest::of(b"key"), Cancel::default());
        let claim = |name: &str| claims.take(&Digest::of(name.as_bytes()), 0, &cancel).unwrap();
        let (one, other) = (claim("one"), claim("other"));
        assert!(!one.is_of_another(&key) && !other.is_of_another(&key));
        one.makes(&key);
        assert!(!one.is_of_another(&key) && other.is_of_another(&key));
        other.makes(&key);
        assert!(one.is_of_another(&key) && !other.is_of_another(&key));
    }

    /// The failing command does not run once more before its build ends all others.
    #[test]
    fn a_failure_is_waited_for_until_its_build_ends_or_begins_again() {
        let (claims, step) = (Claims::default(), Digest::of(b"step"));
        let (own, other) = (Cancel::default(), Cancel::default());
        drop(claims.take(&step, 0, &own).unwrap());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| claims.take(&step, 1, &other).map(drop));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            other.cancel();
            assert_eq!(waiting.join().unwrap(), Err(Cancelled));
            let waiting = scope.spawn(|| claims.take(&step, 2, &own).map(drop));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!waiting.is_finished());
            claims.renew(0);
            assert_eq!(waiting.join().unwrap(), Ok(()));
        });
    }
}
