//! Authentication: credentials, and the `Authorization` header made from them.

pub(crate) mod authorizer;
pub(crate) mod challenge;
pub(crate) mod credential;
pub(crate) mod credential_helper;
pub(crate) mod credentials;
pub(crate) mod login_edit;
pub(crate) mod login_file;
pub(crate) mod offer;
pub(crate) mod scope;
pub(crate) mod token;
