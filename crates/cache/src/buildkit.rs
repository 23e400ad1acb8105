//! The cache of another builder.

use xbuild_image::Document;

/// The media type of the configuration of BuildKit's cache.
///
/// **Source** — BuildKit, `cache/remotecache/v1`.
const CONFIG: &str = "application/vnd.buildkit.cacheconfig.v0";

/// Returns whether a manifest or index is the cache of BuildKit, which holds no document of ours.
pub fn is_of_buildkit(bytes: &[u8]) -> bool {
    match Document::parse(None, bytes) {
        Ok((Document::Manifest(manifest), _)) => manifest.config.media_type == CONFIG,
        Ok((Document::Index(index), _)) => {
            index.manifests.iter().any(|entry| entry.media_type == CONFIG)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use xbuild_model::manifest::{OCI_CONFIG, OCI_LAYER_GZIP};
    use xbuild_model::{Descriptor, Digest};

    use super::*;

    #[test]
    fn both_forms_are_known() {
        let blob = |kind| serde_json::to_value(Descriptor::new(kind, Digest::of(b""), 0)).unwrap();
        let manifest = |config| {
            serde_json::json!({"schemaVersion": 2, "config": blob(config), "layers": []})
                .to_string()
        };
        let index = serde_json::json!({
            "schemaVersion": 2, "manifests": [blob(OCI_LAYER_GZIP), blob(CONFIG)]
        });
        assert!(is_of_buildkit(manifest(CONFIG).as_bytes()));
        assert!(is_of_buildkit(index.to_string().as_bytes()));
        assert!(!is_of_buildkit(manifest(OCI_CONFIG).as_bytes()));
        assert!(!is_of_buildkit(b"{}"));
    }
}
