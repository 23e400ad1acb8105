//! The local state: content-addressed blobs, layer records, tree indexes, unpacked layers, cache
//! records and image names, shared by any number of concurrent builds.
//!
//! `docs/formats.md` draws the store's folders and says what is in each, how a file gets there and
//! what a crash leaves. In short: everything is published by rename, complete or not at all; a
//! record that does not match its own digest is no record; a kill at any moment leaves garbage
//! below `tmp` only, which the next [`Store::open`] removes.

mod background;
mod blob;
mod blob_read;
mod boot;
mod cache_mount;
mod contents;
mod emulator;
mod entries;
mod error;
mod folder;
mod gate;
mod gc;
mod growing;
mod growth;
mod hashed;
mod home;
mod image;
mod items;
mod layers;
mod leftover;
mod lent;
mod measured;
mod pending;
mod pins;
mod publisher;
mod pull_lock;
mod pulls;
mod record;
mod room;
mod root_folder;
mod soundness;
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
pub use emulator::EmulatorRecord;
pub use error::StoreError;
pub use gate::{OnWait, Waiting};
pub use growing::GrowingBlob;
pub use hashed::Hashed;
pub use image::{ImageRecord, NameOwner};
pub use items::{Item, ItemKind};
pub use leftover::Leftover;
pub use pending::Pending;
pub use pull_lock::PullLock;
pub use record::SelectionRecord;
pub use room::Room;
pub use source::SourceRecord;
pub use store::Store;
pub use temp::TempFolder;
pub use usage::Usage;
