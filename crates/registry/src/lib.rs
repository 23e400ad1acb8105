//! Registries and OCI layouts: pulling, assembling manifests and indexes, pushing.
//!
//! The API blocks; the connections' runtime is an inner affair ([`Client`]). What is read is
//! bounded and checked: manifests and configurations here, blobs by whoever reads them to the end.
//! Sources: OCI distribution-spec 1.1, OCI image-spec 1.1, and distribution's token authentication
//! specification.
//!
//! | module | what |
//! | --- | --- |
//! | `client` | [`Client`]: resolve, inspect, open blobs |
//! | `resolve`, `inspect`, `document` | from bytes to an image, for registries and layouts alike |
//! | `push`, `push_ahead`, `upload` | [`Push`]: blobs, manifests, tags |
//! | `assemble` | [`assemble()`]: built images to manifests and index, without I/O |
//! | `download` | [`Client::download`]: files of web servers |
//! | `layout`, `layout_write` | [`Layout`], [`LayoutContent`] |
//! | `validate` | [`validate()`]: the oracle of the tests |
//! | `http`, `transport`, `token`, `challenge`, `origin`, `endpoint`, `retry` | one request |
//! | `credentials`, `helper` | [`Credentials`] |
//! | `layer_source` | where the bytes of layers are |
//! | `error`, `detail`, `printable` | what goes wrong, and how it is shown |

mod assemble;
mod blob_read;
mod challenge;
mod client;
mod credentials;
mod detail;
mod document;
mod download;
mod endpoint;
mod error;
mod helper;
mod http;
mod inspect;
mod layer_source;
mod layout;
mod layout_write;
mod options;
mod origin;
mod parallel;
mod printable;
mod push;
mod push_ahead;
mod resolve;
mod retry;
mod token;
mod transport;
mod upload;
mod validate;

pub use assemble::{
    AssembleOptions, Assembled, AssembledImage, AssembledIndex, BuiltImage, assemble,
};
pub use client::{Client, DocumentCache};
pub use credentials::{Credential, Credentials, Secret};
pub use detail::Detail;
pub use download::{DownloadRequest, Downloaded, Validators};
pub use error::{
    AssembleError, CredentialsError, DocumentError, DownloadError, LayoutError, PullError,
    PushError, RequestError, ResolveError, ValidateError,
};
pub use inspect::{InspectedImage, Inspection};
pub use layer_source::{LayerSource, PushSource};
pub use layout::Layout;
pub use layout_write::LayoutContent;
pub use options::{ClientOptions, Proxies, Retries, Timeouts};
pub use push::{BlobOutcome, Push, PushEvent};
pub use validate::{BlobReaderFn, Validated, ValidatedImage, validate};
