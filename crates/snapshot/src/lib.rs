//! The layer engine: layers as tar streams, the merged tree of a stack of layers, unpacking,
//! the difference of a written folder, and what COPY, ADD and WORKDIR write.
//!
//! Everything that becomes a layer is a sequence of [`Change`]s: read strictly by [`LayerReader`],
//! written by [`LayerWriter`], kept without file contents in a [`LayerIndex`], and merged into a
//! [`Tree`]. Sources: OCI image-spec 1.1 `layer.md`, POSIX.1-2017 `pax`, the GNU tar manual,
//! RFC 1951, RFC 1952 and RFC 8878.

mod archive;
pub mod capability;
mod context;
pub mod context_tar;
pub mod copy;
pub mod decode;
pub mod diff;
pub mod encoding;
pub mod engine;
mod entry;
mod error;
pub mod flatten;
pub mod gzip;
mod index;
mod indexed_write;
mod parallel;
pub mod path;
mod pattern;
mod read_ahead;
pub mod remove;
pub mod root;
mod sink;
mod tar_read;
mod tar_write;
pub mod tasks;
mod tree;
pub mod unpack;
mod whiteout;

pub use context::Context;
pub use encoding::Encoding;
pub use engine::{Engine, EngineOptions, LayerBlob};
pub use entry::{Change, Entry, Kind, Meta, Mtime};
pub use error::{
    CopyError, DiffError, EngineError, EntryFault, IndexFault, LayerError, ResolveError, ShownPath,
    TarFault, TaskError, UnpackError,
};
pub use index::{ContentHash, LayerIndex, index_layer};
pub use indexed_write::IndexedWriter;
pub use pattern::{IgnoreRules, PatternError};
pub use root::Root;
pub use sink::{LayerSink, SinkBlob, SinkResult, Spool};
pub use tar_read::{LayerReader, RawEntry, TarReader};
pub use tar_write::LayerWriter;
pub use tree::{Node, Resolved, Tree, Walk};
