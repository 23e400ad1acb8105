//! Layers as bytes: tar streams and their compressions, what a layer holds, and the merged tree of
//! a stack of layers.
//!
//! Everything that becomes a layer is a sequence of [`Change`]s: read strictly by [`LayerReader`],
//! written by [`LayerWriter`], kept without file contents in a [`LayerIndex`], and merged into a
//! [`Tree`]. Nothing here opens a file. Sources: OCI image-spec 1.1 `layer.md`, POSIX.1-2017 `pax`,
//! the GNU tar manual, RFC 1951, RFC 1952 and RFC 8878.

pub mod attributes;
pub mod capability;
mod clamp;
mod content_hash;
mod contents;
pub mod decode;
mod difference;
mod encoding;
mod entry;
mod error;
pub mod gzip;
mod gzip_read;
mod index;
mod indexed_write;
mod limits;
pub mod parallel;
pub mod path;
mod read_ahead;
mod tar_read;
mod tar_write;
mod tree;
pub mod whiteout;
mod zstd_write;

pub use clamp::clamp_times;
pub use content_hash::{ContentHasher, HashedContents, Hashing};
pub use contents::{Contents, Mapped, Plain, Segment};
pub use difference::{Difference, DifferentPart, first_difference};
pub use encoding::{Encoder, Encoding};
pub use entry::{Change, ContentHash, Entry, Kind, Meta, Mtime};
pub use error::{EntryFault, IndexFault, LayerError, ResolveError, ShownPath, TarFault};
pub use index::{LayerIndex, index_layer};
pub use indexed_write::IndexedWriter;
pub use limits::{HOLE, LARGE};
pub use tar_read::{LayerReader, RawEntry, TarReader};
pub use tar_write::LayerWriter;
pub use tree::{Node, Resolved, Tree, Walk};
