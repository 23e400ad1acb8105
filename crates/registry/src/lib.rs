//! Registries: pulling and pushing images, and downloading files of web servers.
//!
//! The functions block; connections have a runtime of their own. Manifests and configurations are
//! bounded and checked here, blobs by the function that reads them to the end. Sources: OCI
//! distribution-spec 1.1, and distribution's token authentication specification.
//!
//! | module | owns |
//! | --- | --- |
//! | `client`, `blob_read` | [`Client`]: resolve, inspect, open blobs |
//! | `push`, `push_ahead`, `upload` | [`Push`]: blobs, manifests, tags |
//! | `tags` | [`Client::tags`]: tags looked up, listed and removed |
//! | `http` | [`Client::download`]: files of web servers; [`Client::post`]: documents for them |
//! | `connections` | connections for callers that block |
//! | `request`, `endpoint` | one request of the distribution API, with all attempts that it takes |
//! | `auth` | [`Credentials`], credential helpers, challenges and tokens |
//! | `transport` | one HTTP exchange, its bounds of time and size, and its redirects |
//! | `daemon` | [`Daemon`]: the API of a Docker daemon, to load images |
//! | `options`, `hosts` | [`ClientOptions`], and [`HostOptions`] of single registries |
//! | `error`, `detail`, `warning` | errors, the explanations of servers, warnings |

mod auth;
mod blob_read;
mod client;
mod connections;
mod daemon;
mod date;
mod detail;
mod endpoint;
mod error;
mod foreign_read;
mod hosts;
mod http;
mod look;
mod mirrors;
mod options;
mod push;
mod push_ahead;
mod request;
mod tags;
mod transport;
mod upload;
mod warning;

pub use auth::credential::{Credential, Secret};
pub use auth::credentials::Credentials;
pub use auth::login_edit::LoginEdit;
pub use client::{Client, DocumentCache};
pub use daemon::{Daemon, DaemonError, DaemonPlace};
pub use detail::Detail;
pub use error::{CredentialsError, DownloadError, PullError, PushError, RequestError};
pub use hosts::{ClientCertificate, HostOptions, Mirror, PrefixMirror, PrefixRule};
pub use http::download::{DownloadRequest, Downloaded};
pub use http::post::PostRequest;
pub use http::validators::Validators;
pub use options::{ClientOptions, OnWarning, Proxies, Retries, Timeouts};
pub use push::{BlobOutcome, Push, PushEvent};
pub use tags::Deletion;
pub use warning::RegistryWarning;
