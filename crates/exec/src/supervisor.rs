//! The process that watches a step from outside.

pub(crate) mod caller;
pub(crate) mod guise;
pub(crate) mod watch;
