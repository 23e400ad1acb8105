//! Being the first process of a container.

use crate::sys;

/// Lets SIGHUP, SIGINT and SIGTERM end this process if it is the first of its PID namespace, as
/// they end any other: the kernel keeps signals without a handler from such a process, and a
/// container would have to be killed. The exit status is 128 and the number of the signal.
///
/// **Source** — `pid_namespaces(7)` § The namespace init process.
pub fn end_by_signals() {
    if std::process::id() == 1 {
        sys::exit_on_signals();
    }
}
