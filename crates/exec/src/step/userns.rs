//! The parts of a step that need a user namespace: mounts.

pub(crate) mod dev;
pub(crate) mod kit;
pub(crate) mod mounts;
pub(crate) mod overlay;
pub(crate) mod root;
pub(crate) mod run_mounts;
pub(crate) mod secrets;
pub(crate) mod stubs;
