//! Images as documents and files: reading, resolving, assembling, checking, and OCI layouts.
//! Without sockets and asynchronous code.
//!
//! Manifests and configurations are bounded and checked here, blobs by the function that reads them
//! to the end. Sources: OCI image-spec 1.1, Docker image specification 1.3.
//!
//! | module | owns |
//! | --- | --- |
//! | `document` | [`Document`]: parsing and checking manifests, indexes and configurations |
//! | `media_type` | media types of OCI and Docker |
//! | `resolve`, `inspect` | [`Documents`]: from a name to an image, for registries and layouts alike |
//! | `assemble` | [`assemble()`]: built images to manifests and index |
//! | `attestation` | [`Attestation`]: statements about images, in manifests beside theirs |
//! | `edit` | [`Draft`]: indexes put together and changed |
//! | `content`, `gather` | [`Content`]: all documents that a name stands for, assembled or read |
//! | `built` | [`Built`]: images, and where each of their blobs can be opened |
//! | `checked_read` | blobs of other places, whose bytes nobody has checked |
//! | `archive` | [`Members`]: archives of images that come from a pipe |
//! | `layout` | [`Layout`], [`LayoutContent`]: reading and writing OCI layouts |
//! | `validate` | [`validate()`]: the check that tests run on every image |
//! | `parallel`, `printable` | work on a few threads; text of others, made safe to show |
//! | `error` | errors |

pub mod document;
pub mod parallel;
pub mod printable;

mod archive;
mod assemble;
mod attestation;
mod built;
mod checked_read;
mod content;
mod edit;
mod error;
mod gather;
mod inspect;
mod layout;
mod media_type;
mod member_headers;
mod resolve;
mod validate;

pub use archive::{MemberSink, Members};
pub use assemble::{
    AssembleOptions, Assembled, AssembledImage, AssembledIndex, ImageParts, assemble,
};
pub use attestation::{AssembledAttestation, Attestation};
pub use built::{BlobPlace, Built, FileFrom, FoundBlob, StoredFn};
pub use content::{Content, ContentDocument};
pub use document::Document;
pub use edit::{Draft, EntryAnnotation, EntryChange, EntryName, IndexSource};
pub use error::{
    AssembleError, DocumentError, EditError, LayoutError, ResolveError, ValidateError,
};
pub use gather::{gather, gather_entries, index_source};
pub use inspect::{FoundStatement, InspectedImage, Inspection, inspect, statements};
pub use layout::{DockerImage, Layout, LayoutBlob, LayoutContent, NamedContent};
pub use resolve::{Documents, resolve};
pub use validate::{BlobReaderFn, Validated, ValidatedImage, validate};
