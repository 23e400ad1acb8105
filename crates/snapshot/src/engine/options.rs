//! The settings of an engine.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use xbuild_files::Context;
use xbuild_files::copy::CopyWarning;
use xbuild_layer::decode::Bound;
use xbuild_layer::{Encoding, Mtime, ShownPath};
use xbuild_model::own_root::Spared;
use xbuild_model::seam::Sources;
use xbuild_model::transfer::OnTransfer;
use xbuild_model::{Cancel, DiffId, Digest};

use super::cached_layer::CachedLayer;
use super::packer::Watch;
use super::siblings::Siblings;
use crate::EngineError;

/// Finds the files of a cache folder in a shared cache.
pub type FindMount = dyn Fn(&Digest) -> Option<CachedLayer> + Send + Sync;

/// Takes a layer of a shared cache, and what is wrong with it.
pub type OnWrong = dyn Fn(&DiffId, &EngineError) + Send + Sync;

/// The settings of an engine.
#[derive(Clone)]
pub struct EngineOptions {
    /// The build contexts by name; the empty name is the main one.
    pub contexts: BTreeMap<String, Arc<Context>>,
    /// Fetches remote sources of ADD; `None` if there are none.
    pub sources: Option<Arc<dyn Sources>>,
    /// The modification time of files that COPY and WORKDIR make and do not copy.
    pub default_mtime: Mtime,
    /// The encoding of new layers of images.
    pub encoding: Encoding,
    /// The bound within which new blobs must be readable.
    pub bound: Bound,
    /// Takes a reader of each new blob of a result, when the blob is begun.
    pub on_blob: Option<Watch>,
    /// Takes the states of pulls.
    pub on_transfer: OnTransfer,
    /// Takes the warnings of COPY and ADD.
    pub on_warning: Arc<dyn Fn(&CopyWarning) + Send + Sync>,
    /// The files that are spared in the root of this container, if that is the root of steps.
    pub own_root: Option<Spared>,
    /// Takes the files of images that steps cannot see, since spared ones are in their place.
    pub on_hidden: Arc<dyn Fn(&ShownPath) + Send + Sync>,
    /// Finds the files of a cache folder in a shared cache, by its key.
    pub find_mount: Option<Arc<FindMount>>,
    /// Takes a layer of a shared cache whose blob cannot be used, or whose index is wrong. What the
    /// cache says about it must not be used again.
    pub on_wrong: Arc<OnWrong>,
    /// Ends pulls, unpacking, copies and waits that are under way. The layer of a command that has
    /// ended is completed.
    pub cancel: Cancel,
    /// What engines of other builds share with this one; `None` if there are none.
    pub siblings: Option<Siblings>,
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("contexts", &self.contexts)
            .field("default_mtime", &self.default_mtime)
            .field("encoding", &self.encoding)
            .finish_non_exhaustive()
    }
}

impl Default for EngineOptions {
    /// Returns settings without contexts, with the epoch and gzip, which drop warnings and the states of pulls.
    fn default() -> Self {
        Self {
            contexts: BTreeMap::new(),
            sources: None,
            default_mtime: Mtime::default(),
            encoding: Encoding::default(),
            bound: Bound::default(),
            on_blob: None,
            on_transfer: Arc::new(|_, _| {}),
            on_warning: Arc::new(|_| {}),
            own_root: None,
            on_hidden: Arc::new(|_| {}),
            find_mount: None,
            on_wrong: Arc::new(|_, _| {}),
            cancel: Cancel::default(),
            siblings: None,
        }
    }
}
