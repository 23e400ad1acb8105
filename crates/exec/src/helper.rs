//! The helper's side: the process that owns the build's user and mount namespaces.

pub(crate) mod join;
pub(crate) mod lanes;
pub(crate) mod role;
pub(crate) mod serve;
pub(crate) mod tasks;
