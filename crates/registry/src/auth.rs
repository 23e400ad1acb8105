//! Who we are at which registry, and how it is told.

pub(crate) mod challenge;
pub(crate) mod credential;
pub(crate) mod credential_helper;
pub(crate) mod credentials;
pub(crate) mod token;
