//! The process that watches a step from outside.

mod caller;
mod guise;
mod watch;

pub(crate) use watch::attend;
