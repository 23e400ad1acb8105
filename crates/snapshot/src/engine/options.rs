//! What an engine is told once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use xbuild_files::Context;
use xbuild_files::copy::CopyWarning;
use xbuild_layer::{Encoding, Mtime};
use xbuild_model::seam::Sources;

use super::packer::Watch;

/// What an engine is told once.
#[derive(Clone)]
pub struct EngineOptions {
    /// The build contexts by name; the empty name is the main one.
    pub contexts: BTreeMap<String, Arc<Context>>,
    /// Fetches what ADD takes from elsewhere; `None` if nothing does.
    pub sources: Option<Arc<dyn Sources>>,
    /// The modification time of what COPY and WORKDIR make and do not copy.
    pub default_mtime: Mtime,
    /// How new layers of images are compressed.
    pub encoding: Encoding,
    /// Takes a reader of the blob of each new layer of a result, when it is begun.
    pub on_blob: Option<Watch>,
    /// Takes what the user should know about a COPY or ADD.
    pub on_warning: Arc<dyn Fn(&CopyWarning) + Send + Sync>,
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { contexts, sources: _, default_mtime, encoding, on_blob: _, on_warning: _ } =
            self;
        f.debug_struct("EngineOptions")
            .field("contexts", contexts)
            .field("default_mtime", default_mtime)
            .field("encoding", encoding)
            .finish_non_exhaustive()
    }
}

impl Default for EngineOptions {
    /// No contexts, the epoch, gzip, and warnings dropped.
    fn default() -> Self {
        Self {
            contexts: BTreeMap::new(),
            sources: None,
            default_mtime: Mtime::default(),
            encoding: Encoding::default(),
            on_blob: None,
            on_warning: Arc::new(|_| {}),
        }
    }
}
