//! What a shared cache says about a layer.

use std::sync::Arc;

use xbuild_layer::LayerIndex;
use xbuild_model::ImageLayer;

/// A layer whose blob a shared cache has.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedLayer {
    /// The layer.
    pub layer: ImageLayer,
    /// The name of the blob's encoding, if the cache tells.
    pub encoding: Option<String>,
}

/// Fetches the tree index of a layer that a shared cache has; `None` if that fails. It may be called
/// more than once.
pub type FetchIndex = Arc<dyn Fn() -> Option<LayerIndex> + Send + Sync>;
