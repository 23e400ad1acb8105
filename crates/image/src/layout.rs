//! OCI layouts: an image as a folder or as a tar archive.
//!
//! ```text
//! oci-layout          {"imageLayoutVersion": "1.0.0"}
//! index.json          the images; the annotation org.opencontainers.image.ref.name is the tag
//! blobs/sha256/HEX    manifests, configurations, layers
//! ```
//!
//! A layout is not trusted: no link leads out of it, only regular files are opened, and sizes are
//! compared before bytes are read. **Source** — OCI image-spec `image-layout.md`.

mod docker;
mod files;
mod reader;
mod removal;
mod writer;

pub use docker::DockerImage;
pub use files::LayoutBlob;
pub use reader::Layout;
pub use writer::{LayoutContent, NamedContent};
