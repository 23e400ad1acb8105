//! Work that a signal leaves time for.
//!
//! The handler of the signal wakes a thread and returns, so that no thread is stopped while it holds a lock
//! that the work needs. The thread ends the children, does the work, and ends the process. A second signal
//! ends the process at once.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::EventfdFlags;
use rustix::io::retry_on_intr;
use xbuild_model::thread;

/// The time that the work should take at most. Runners of CI jobs give a few seconds before they kill.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The counter that the handler wakes the thread with.
static BELL: OnceLock<OwnedFd> = OnceLock::new();
static IS_ENDING: AtomicBool = AtomicBool::new(false);

/// If a signal ends this process, calls `note` before the children have ended, and what it returns after
/// that. Without a thread or a descriptor nothing is called; only the first call of this function counts.
pub(crate) fn at_signal<W: FnOnce()>(note: impl FnOnce() -> W + Send + 'static) {
    let Ok((bell, heard)) = rustix::event::eventfd(0, EventfdFlags::CLOEXEC)
        .map_err(std::io::Error::from)
        .and_then(|bell| Ok((bell.try_clone()?, bell)))
    else {
        return;
    };
    let wait = move || {
        if retry_on_intr(|| rustix::io::read(&heard, &mut [0; 8])).is_ok() {
            let work = note();
            xbuild_exec::end_children();
            work();
            xbuild_exec::end_by_signal();
        }
    };
    if BELL.get().is_none() && thread::start("farewell", wait).is_ok() {
        // Without the thread a signal ends the process by itself.
        let _ = BELL.set(bell);
    }
}

/// Wakes the thread; returns whether there is one. For signal handlers: it neither allocates nor locks.
pub(crate) fn ring() -> bool {
    let Some(bell) = BELL.get() else { return false };
    IS_ENDING.store(true, Ordering::Release);
    let is_heard = rustix::io::write(bell, &1_u64.to_ne_bytes()).is_ok();
    IS_ENDING.store(is_heard, Ordering::Release);
    is_heard
}

/// Returns at once unless the thread is ending this process; then never. The other threads see their
/// processes die, and have nothing to add.
pub(crate) fn stay_if_ending() {
    while IS_ENDING.load(Ordering::Acquire) {
        std::thread::sleep(PATIENCE);
    }
}
