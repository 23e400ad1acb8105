//! Ending by a signal.

use rustix::fs::{Mode, OFlags};

use crate::{orphans, sys};

/// Makes SIGHUP, SIGINT and SIGTERM end this process with all its children. They end every process
/// by default, but would leave the children to the first process of the container, and the kernel
/// keeps signals without a handler from a process that is itself the first one.
///
/// **Source** — `pid_namespaces(7)` § The namespace init process.
pub fn end_by_signals() {
    sys::end_on_signals(|| {
        // The other threads see their processes die, which is no news now.
        if let Ok(null) = rustix::fs::open(c"/dev/null", OFlags::WRONLY, Mode::empty()) {
            let _ = rustix::stdio::dup2_stderr(&null);
        }
        orphans::end_wards();
    });
}
