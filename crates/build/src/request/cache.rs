//! Shared caches that a build reads and writes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_layer::Encoding;
use xbuild_model::Reference;

/// Shared caches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheRequest {
    /// The caches to read, in the order in which they are asked.
    pub from: Vec<CacheFrom>,
    /// The caches to write.
    pub to: Vec<CacheTo>,
    /// The caches that new cache mounts are filled from, in the order in which they are asked.
    #[serde(default)]
    pub mounts_from: Vec<CacheFrom>,
    /// The caches that cache mounts are written to.
    #[serde(default)]
    pub mounts_to: Vec<CacheMountsTo>,
}

/// A cache that cache mounts are written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheMountsTo {
    /// Its place.
    pub place: CachePlaceRequest,
    /// The name of the scope.
    pub scope: String,
    /// A file with the private key that signs what is written.
    pub key: Option<PathBuf>,
    /// The bytes on disk that a folder may have.
    pub limit: u64,
}

/// The place of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CachePlaceRequest {
    /// A repository of a registry. The tag is that of other builders' caches: nothing of ours is
    /// under it.
    Registry(Reference),
    /// An OCI layout.
    Layout(PathBuf),
}

/// A cache to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheFrom {
    /// Its place.
    pub place: CachePlaceRequest,
    /// The name of the scope.
    pub scope: String,
    /// Files with the public keys of writers that count; with none, all count.
    pub keys: Vec<PathBuf>,
}

/// A cache to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheTo {
    /// Its place.
    pub place: CachePlaceRequest,
    /// The name of the scope.
    pub scope: String,
    /// The steps that it gets.
    pub mode: CacheMode,
    /// The compression of its layers; `None` for whichever is at hand.
    #[serde(default, with = "super::output::some_encoding")]
    pub encoding: Option<Encoding>,
    /// A file with the private key that signs what is written.
    pub key: Option<PathBuf>,
}

/// The steps that a cache gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheMode {
    /// Those whose layers are in an image.
    #[default]
    Min,
    /// All, also those of stages that are only copied from.
    Max,
}
