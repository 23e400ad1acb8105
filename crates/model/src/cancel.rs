//! Ending work whose result nobody wants any more.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tells the work of a build to end. Clones are handles of the same one.
///
/// Work that can take long asks between its pieces ([`check`](Self::check)); work that waits for a
/// process or a server leaves a function that wakes it ([`on_cancel`](Self::on_cancel)).
#[derive(Clone, Default)]
pub struct Cancel(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    is_cancelled: bool,
    hooks: BTreeMap<u64, Hook>,
    next: u64,
}

type Hook = Box<dyn FnOnce() + Send>;

/// The error of work that was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended, because another step of the build failed")]
pub struct Cancelled;

impl Cancel {
    /// Tells all work to end. Another call has no effect.
    pub fn cancel(&self) {
        let mut state = self.lock();
        state.is_cancelled = true;
        // Under the lock: a hook does not run any more once its `OnCancel` is dropped.
        std::mem::take(&mut state.hooks).into_values().for_each(|hook| hook());
    }

    /// Lets work begin again. All that was cancelled must have ended.
    pub fn renew(&self) {
        self.lock().is_cancelled = false;
    }

    /// Returns whether the work is to end.
    pub fn is_cancelled(&self) -> bool {
        self.lock().is_cancelled
    }

    /// Returns an error if the work is to end.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }

    /// Calls `hook` when the work is to end, at once if that is so already, unless the result is
    /// dropped before. The hook must be quick, and must not use this token.
    #[must_use]
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> OnCancel {
        let mut state = self.lock();
        if state.is_cancelled {
            hook();
        } else {
            let number = state.next;
            state.next += 1;
            state.hooks.insert(number, Box::new(hook));
            return OnCancel(Some((self.clone(), number)));
        }
        OnCancel(None)
    }

    /// Returns a stream that fails once the work is to end.
    pub fn stream<S>(&self, inner: S) -> Cancellable<S> {
        Cancellable { inner, cancel: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at any time, even if a hook panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// A hook of [`Cancel::on_cancel`]. Dropping it removes the hook.
#[derive(Debug)]
pub struct OnCancel(Option<(Cancel, u64)>);

impl Drop for OnCancel {
    fn drop(&mut self) {
        let Some((cancel, number)) = self.0.take() else { return };
        let hook = cancel.lock().hooks.remove(&number);
        // The hook may own anything, so it is dropped without the lock.
        drop(hook);
    }
}

/// A stream that fails with [`Cancelled`] once the work is to end.
#[derive(Debug)]
pub struct Cancellable<S> {
    inner: S,
    cancel: Cancel,
}

impl<S> Cancellable<S> {
    /// Returns the stream itself.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: io::Read> io::Read for Cancellable<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.read(buffer)
    }
}

impl<S: io::Write> io::Write for Cancellable<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn hooks_run_once_unless_they_are_dropped() {
        let (cancel, calls) = (Cancel::default(), Arc::new(AtomicU32::new(0)));
        let hook = |add: u32| {
            let calls = calls.clone();
            cancel.on_cancel(move || {
                calls.fetch_add(add, Ordering::SeqCst);
            })
        };
        let _kept = hook(1);
        drop(hook(10));
        assert_eq!((cancel.check(), calls.load(Ordering::SeqCst)), (Ok(()), 0));
        cancel.clone().cancel();
        cancel.cancel();
        assert_eq!((cancel.check(), calls.load(Ordering::SeqCst)), (Err(Cancelled), 1));
        let _late = hook(100);
        assert_eq!(calls.load(Ordering::SeqCst), 101);
    }

    #[test]
    fn streams_fail_from_then_on() {
        let cancel = Cancel::default();
        let (mut input, mut output) = (cancel.stream(&b"abc"[..]), cancel.stream(Vec::new()));
        let mut byte = [0];
        input.read_exact(&mut byte).unwrap();
        output.write_all(&byte).unwrap();
        cancel.cancel();
        assert!(input.read(&mut byte).is_err() && output.write(&byte).is_err());
        assert_eq!((input.into_inner(), output.into_inner()), (&b"bc"[..], b"a".to_vec()));
    }
}
