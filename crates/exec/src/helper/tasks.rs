//! The tasks that can be done inside the build's user namespace, by name.

use std::os::fd::OwnedFd;

use xbuild_model::TaskFailure;

/// Does one task: takes the request and the descriptors that were sent along, returns the answer, or
/// an error message.
///
/// Runs in a process of its own that ends with it, as root of the user namespace; it may start
/// threads and change whatever belongs to its process.
pub type TaskFn = fn(&[u8], Vec<OwnedFd>) -> Result<Vec<u8>, TaskFailure>;

/// The functions of all tasks. Every process of the build has the same.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    functions: Vec<(&'static str, TaskFn)>,
}

impl Tasks {
    /// Returns an empty list. The tasks of this crate need no entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a function under a name, which must be new.
    #[must_use]
    pub fn with(mut self, name: &'static str, function: TaskFn) -> Self {
        debug_assert!(self.find(name).is_none(), "task {name} is there already");
        self.functions.push((name, function));
        self
    }

    /// Returns the function of that name.
    pub(super) fn find(&self, name: &str) -> Option<TaskFn> {
        self.functions.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }
}
