//! HTTP, whatever the server: one exchange and its bounds, where it may lead, and waiting between
//! attempts.

pub(crate) mod exchange;
pub(crate) mod origin;
pub(crate) mod redirect;
pub(crate) mod retry;
