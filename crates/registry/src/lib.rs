//! Registries: pulling and pushing images, and files of web servers.
//!
//! The API blocks; the connections' runtime is an inner affair ([`Client`]). What is read is
//! bounded and checked: manifests and configurations here, blobs by whoever reads them to the end.
//! Sources: OCI distribution-spec 1.1, and distribution's token authentication specification.
//!
//! | module | what |
//! | --- | --- |
//! | `client`, `blob_read` | [`Client`]: resolve, inspect, open blobs |
//! | `push`, `push_ahead`, `upload` | [`Push`]: blobs, manifests, tags |
//! | `request`, `endpoint` | one request of the distribution API, with all attempts that it takes |
//! | `auth` | [`Credentials`], credential helpers, challenges and tokens |
//! | `http` | [`Client::download`]: files of web servers |
//! | `connections`, `transport` | connections for callers that block; one HTTP exchange |
//! | `options` | [`ClientOptions`] |
//! | `error`, `detail` | what goes wrong, and how it is shown |

mod auth;
mod blob_read;
mod client;
mod connections;
mod detail;
mod endpoint;
mod error;
mod http;
mod options;
mod push;
mod push_ahead;
mod request;
mod transport;
mod upload;

pub use auth::credential::{Credential, Secret};
pub use auth::credentials::Credentials;
pub use client::{Client, DocumentCache};
pub use detail::Detail;
pub use error::{CredentialsError, DownloadError, PullError, PushError, RequestError};
pub use http::download::{DownloadRequest, Downloaded};
pub use http::validators::Validators;
pub use options::{ClientOptions, Proxies, Retries, Timeouts};
pub use push::{BlobOutcome, Push, PushEvent};
