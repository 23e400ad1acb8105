//! Being the first process of a container.

use crate::sys;

/// Makes SIGHUP, SIGINT and SIGTERM end this process if it is the first of its PID namespace. They
/// end every other process by default, but the kernel keeps signals without a handler from such a
/// one, so that a container would have to be killed. The exit status is 128 and the number of the signal.
///
/// **Source** — `pid_namespaces(7)` § The namespace init process.
pub fn end_by_signals() {
    if std::process::id() == 1 {
        sys::exit_on_signals();
    }
}
