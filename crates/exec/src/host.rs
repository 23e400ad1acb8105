//! The main process's side of the sandbox.

pub(crate) mod agent;
pub(crate) mod output;
pub(crate) mod sandbox;
