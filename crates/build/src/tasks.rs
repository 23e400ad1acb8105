//! The tasks of the helper: `exec` starts them, `snapshot` does them.

use xbuild_exec::Tasks;

/// Returns which function does which work inside the build's user namespace.
pub fn all() -> Tasks {
    let tasks = xbuild_snapshot::tasks::all();
    tasks.into_iter().fold(Tasks::new(), |tasks, (name, function)| tasks.with(name, function))
}
