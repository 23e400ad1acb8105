//! Authentication: credentials, and the `Authorization` header made from them.

pub(crate) mod challenge;
pub(crate) mod credential;
pub(crate) mod credential_helper;
pub(crate) mod credentials;
pub(crate) mod token;
