//! Errors, a file for each family of operations.
//!
//! No message holds the query or user information of a URL, a header, or unescaped text of a
//! server: these pass through `origin::redact` and [`Detail`](crate::Detail) first.

mod credentials;
mod download;
mod pull;
mod push;
mod reason;
mod request;

pub use credentials::CredentialsError;
pub use download::DownloadError;
pub use pull::PullError;
pub use push::PushError;
pub use reason::Reason;
pub use request::RequestError;
pub(crate) use request::tls_error;
