//! HTTP, whatever the server: one exchange, its bounds, where it may lead, waiting between
//! attempts, and files of web servers.

pub(crate) mod download;
pub(crate) mod origin;
pub(crate) mod retry;
pub(crate) mod transport;
