//! The documents of the shared cache, as plain values: written, read and checked, without I/O.
//!
//! Each document is the manifest of an OCI image under a tag of its own, so writers that work at the
//! same time touch different tags, and the registry's own collector keeps what is referenced.
//! Everything in it is a valid layer, so registries and scanners that know only images take it.
//!
//! | document | tag | holds |
//! | --- | --- | --- |
//! | [`Record`] | `c1-SCOPE-KEY` | the result of one step: its layers, and their tree indexes |
//! | [`Mount`] | `m1-SCOPE-KEY` | the files of a cache mount |
//! | [`Trail`] | `t1-SCOPE-ID` | what one build used: all its records, the documents of its base images, tree indexes |
//!
//! A document that somebody else wrote is not trusted to be what was asked for: [`Record::read`],
//! [`Trail::read`] and [`Mount::read`] compare scope, key and digests, and bound everything. Nothing but a signature
//! ([`Policy`]) shows that a step really made those layers. `docs/formats.md` has the bytes.

mod buildkit;
mod bundle;
mod document;
mod error;
mod key_file;
mod mount;
mod payload;
mod record;
mod record_read;
mod scope;
mod signature;
mod tag;
mod trail;
mod trail_read;

pub use buildkit::is_of_buildkit;
pub use bundle::{MAX_INDEX, PackedIndex, unpack_index};
pub use document::{Document, KEPT_FROM, written_at};
pub use error::{CacheDocumentError, KeyError};
pub use mount::Mount;
pub use record::{Record, RecordLayer};
pub use scope::{Scope, ScopeError};
pub use signature::{Policy, PublicKey, Signer};
pub use tag::{CacheTag, TagKind};
pub use trail::{MAX_TRAIL, Trail, TrailId, TrailIndex};
pub use trail_read::TrailManifest;
