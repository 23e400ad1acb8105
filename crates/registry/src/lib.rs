//! Registries: pulling and pushing images, and files of web servers.
//!
//! The API blocks; the connections' runtime is an inner affair ([`Client`]). What is read is
//! bounded and checked: manifests and configurations here, blobs by whoever reads them to the end.
//! Sources: OCI distribution-spec 1.1, and distribution's token authentication specification.
//!
//! | module | what |
//! | --- | --- |
//! | `client` | [`Client`]: resolve, inspect, open blobs |
//! | `push`, `push_ahead`, `upload` | [`Push`]: blobs, manifests, tags |
//! | `download` | [`Client::download`]: files of web servers |
//! | `http`, `transport`, `token`, `challenge`, `origin`, `endpoint`, `retry` | one request |
//! | `credentials`, `helper` | [`Credentials`] |
//! | `error`, `detail` | what goes wrong, and how it is shown |

mod blob_read;
mod challenge;
mod client;
mod credentials;
mod detail;
mod download;
mod endpoint;
mod error;
mod helper;
mod http;
mod options;
mod origin;
mod push;
mod push_ahead;
mod retry;
mod token;
mod transport;
mod upload;

pub use client::{Client, DocumentCache};
pub use credentials::{Credential, Credentials, Secret};
pub use detail::Detail;
pub use download::{DownloadRequest, Downloaded, Validators};
pub use error::{CredentialsError, DownloadError, PullError, PushError, RequestError};
pub use options::{ClientOptions, Proxies, Retries, Timeouts};
pub use push::{BlobOutcome, Push, PushEvent};
