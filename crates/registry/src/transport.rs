//! HTTP with any server: one exchange and its bounds, the targets that it may lead to, and the
//! waits between attempts.

pub(crate) mod exchange;
pub(crate) mod incoming;
pub(crate) mod origin;
pub(crate) mod redirect;
pub(crate) mod retry;
