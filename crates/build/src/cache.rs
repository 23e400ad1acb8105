//! Shared caches: what earlier builds on other machines made, and what this one leaves to others.
//!
//! | file | owns |
//! | --- | --- |
//! | `place` | a repository or a layout with documents of a cache |
//! | `source` | one cache that is read: its scope, and the documents that count |
//! | `imports` | all caches that a build reads, and what they have said so far |
//! | `blobs` | the blobs of a build, and those that a cache alone has |
//! | `joined` | the store and these caches as one [`StepCache`](xbuild_model::seam::StepCache) |
//! | `target` | one cache that is written |
//! | `exports` | writing while steps run |
//! | `saved` | the trails of a build that went well |
//! | `identity` | what a build is known by from one commit to the next |
//! | `listing` | what is in a cache, and what no build uses any more |
//! | `mounts` | cache mounts of other machines |
//! | `keys` | files with keys, and names of scopes |
//! | `warning` | what goes wrong, which never fails a build |
//!
//! Results from a shared cache are kept in memory only. They never become records of the store,
//! since they count only in builds that read the same scope with the same keys.

mod blobs;
mod exports;
mod identity;
mod imports;
mod joined;
mod keys;
mod listing;
mod mounts;
mod place;
mod saved;
mod source;
mod target;
mod warning;

pub(crate) use blobs::CacheBlobs;
pub(crate) use exports::CacheExports;
pub(crate) use identity::of_build;
pub(crate) use imports::Imports;
pub(crate) use joined::JoinedCache;
pub use listing::{CacheContents, CachePruned, CacheShelf, CachedBuild};
pub(crate) use mounts::MountCaches;
pub use saved::save_cache;
pub(crate) use target::CacheTargets;
pub use warning::CacheWarning;
