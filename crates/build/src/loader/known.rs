//! The answers of engines about their images.

use serde_json::Value;
use xbuild_model::DiffId;

/// Images of an engine that are looked at, to learn which layers it has.
pub(super) const MAX_IMAGES: usize = 500;

/// Returns the layers that an engine says an image has; none if it has an odd one.
pub(super) fn layers_of(image: &Value) -> Vec<DiffId> {
    let layers = image["RootFS"]["Layers"].as_array();
    let layers = layers.into_iter().flatten().map(|layer| layer.as_str()?.parse().ok());
    layers.map(|digest| digest.map(DiffId)).collect::<Option<_>>().unwrap_or_default()
}
