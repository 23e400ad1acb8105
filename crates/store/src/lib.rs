//! The local state: content-addressed blobs, layer records, tree indexes, unpacked layers, cache
//! records and image names, shared by any number of concurrent builds.
//!
//! ```text
//! ROOT/                        0700, owned by whoever builds
//! ├── version                  "1\n"; another number is refused
//! ├── lock                     flock: shared by each build, exclusive for pruning
//! ├── blobs/sha256/HEX         manifests, configurations, compressed layers
//! ├── layers/HEX               record: diff ID -> descriptor of its blob
//! ├── indexes/HEX              tree index of a layer, by diff ID
//! ├── folders/BOOT/MAP/HEX/    unpacked layer, by boot of the machine, id map and diff ID
//! ├── cache-mounts/MAP/HEX-N/  a cache mount, by id map and identity; its own flock'd `lock`
//! ├── sources/BOOT/HEX/        fetched files, by boot and by what they are
//! ├── source-records/HEX       record: URL -> validators and key of the folder
//! ├── cache/HEX                record: key of a step -> diff IDs
//! ├── last-seen/HEX            what a step was when it last ran, by the place of the step
//! ├── images/HEX               record: image name -> descriptor, by the digest of the name
//! └── tmp/PID-N/               work of one open store, with its own flock'd `lock`
//! ```
//!
//! Everything is published by rename, complete or not at all. Blobs are synced before, in the
//! background; records
//! carry their own digest, so that one torn by a power cut is no record (those of `last-seen` are
//! written in place: only messages depend on them); an unpacked layer counts
//! only in the boot in which it was made. A kill at any moment leaves
//! garbage below `tmp`, which the next [`Store::open`] removes.

mod background;
mod blob;
mod boot;
mod cache_mount;
mod entries;
mod error;
mod folder;
mod gc;
mod growing;
mod hashed;
mod home;
mod layers;
mod pending;
mod publisher;
mod record;
mod source;
mod steps;
mod store;
mod temp;
#[cfg(test)]
mod tests;
mod usage;
mod writeback;

pub use background::Background;
pub use blob::BlobWriter;
pub use cache_mount::{CacheMount, CacheMountInfo, CacheMountSlot};
pub use error::StoreError;
pub use gc::Leftover;
pub use growing::GrowingBlob;
pub use hashed::Hashed;
pub use pending::Pending;
pub use record::{ImageRecord, SelectionRecord};
pub use source::SourceRecord;
pub use store::Store;
pub use temp::TempFolder;
pub use usage::Usage;
