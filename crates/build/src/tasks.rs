//! The tasks of the helper: `exec` starts them, `snapshot` does them.

use xbuild_exec::Tasks;

/// Returns the functions that run inside the user namespace of a build, by name.
pub fn all() -> Tasks {
    let tasks = xbuild_snapshot::tasks::all();
    tasks.into_iter().fold(Tasks::new(), |tasks, (name, function)| tasks.with(name, function))
}
