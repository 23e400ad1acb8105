//! Ending by a signal.

use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags};

use crate::{orphans, sys};

/// Makes SIGHUP, SIGINT and SIGTERM end this process with all its children. They end every process
/// by default, but would leave the children to the first process of the container, and the kernel
/// keeps signals without a handler from a process that is itself the first one.
///
/// `last_words` is called first, while standard error is still there. It must be safe in a signal
/// handler: it neither allocates nor locks.
///
/// **Source** — `pid_namespaces(7)` § The namespace init process.
pub fn end_by_signals(last_words: fn()) {
    static LAST_WORDS: OnceLock<fn()> = OnceLock::new();
    let _ = LAST_WORDS.set(last_words);
    sys::end_on_signals(|| {
        if let Some(last_words) = LAST_WORDS.get() {
            last_words();
        }
        // The other threads see their processes die, which is no news now.
        if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::WRONLY, Mode::empty()) {
            let _ = rustix::stdio::dup2_stderr(&null);
        }
        orphans::end_wards();
    });
}
