//! HTTP with any server: one exchange and its bounds, the targets that it may lead to, and the
//! waits between attempts.

mod clients;
pub(crate) mod exchange;
pub(crate) mod incoming;
mod names;
pub(crate) mod origin;
mod proxy;
pub(crate) mod reach;
pub(crate) mod retry;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
pub(crate) mod trail;
