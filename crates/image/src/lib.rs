//! Images as documents and files: reading, assembling, checking, and OCI layouts. No sockets, and
//! nothing asynchronous.
//!
//! Whatever is read is bounded and checked: manifests and configurations here, blobs by whoever
//! reads them to the end. Sources: OCI image-spec 1.1, Docker image specification 1.3.
//!
//! | module | what |
//! | --- | --- |
//! | `document` | [`Document`]: bytes to manifests and indexes, with all that can be wrong |
//! | `media_type` | media types of OCI and Docker |
//! | `resolve`, `inspect` | [`Documents`]: from a name to an image, for registries and layouts alike |
//! | `assemble` | [`assemble()`]: built images to manifests and index |
//! | `built` | [`Built`]: images, and where each of their blobs can be opened |
//! | `layout` | [`Layout`], [`LayoutContent`]: reading and writing OCI layouts |
//! | `validate` | [`validate()`]: the oracle of the tests |
//! | `parallel`, `printable` | work by a few threads; text of others, fit to be shown |
//! | `error` | what goes wrong |

pub mod document;
pub mod parallel;
pub mod printable;

mod assemble;
mod built;
mod error;
mod inspect;
mod layout;
mod media_type;
mod resolve;
mod validate;

pub use assemble::{
    AssembleOptions, Assembled, AssembledImage, AssembledIndex, ImageParts, assemble,
};
pub use built::{Built, FileFrom, FoundBlob, StoredFn};
pub use document::Document;
pub use error::{AssembleError, DocumentError, LayoutError, ResolveError, ValidateError};
pub use inspect::{InspectedImage, Inspection, inspect};
pub use layout::{Layout, LayoutContent};
pub use resolve::{Documents, resolve};
pub use validate::{BlobReaderFn, Validated, ValidatedImage, validate};
