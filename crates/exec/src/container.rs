//! Ending by a signal.

use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};

use crate::{orphans, sys};

/// Makes SIGHUP, SIGINT and SIGTERM end this process with all its children. They end every process
/// by default, but would leave the children to the first process of the container, and the kernel
/// keeps signals without a handler from a process that is itself the first one.
///
/// `last_words` is called first, while standard error is still there. If `hand_over` returns `true`, a
/// thread has taken over, and calls [`end_children`] and [`end_by_signal`]. Both must be safe in a signal
/// handler: they neither allocate nor lock.
///
/// **Source** — `pid_namespaces(7)` § The namespace init process.
pub fn end_by_signals(last_words: fn(), hand_over: fn() -> bool) {
    static HAND_OVER: OnceLock<fn() -> bool> = OnceLock::new();
    let _ = LAST_WORDS.set(last_words);
    let _ = HAND_OVER.set(hand_over);
    sys::end_on_signals(|| {
        if HAND_OVER.get().is_some_and(|hand_over| hand_over()) {
            return false;
        }
        end_children();
        true
    });
}

static LAST_WORDS: OnceLock<fn()> = OnceLock::new();

/// Says the last words, and ends the children, which takes a second at most.
pub fn end_children() {
    if let Some(last_words) = LAST_WORDS.get() {
        last_words();
    }
    // The other threads see their processes die, which is no news now.
    if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::WRONLY, Mode::empty()) {
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    orphans::end_wards();
}

/// Ends this process by the signal that has come.
pub fn end_by_signal() -> ! {
    sys::end_by_signal()
}
