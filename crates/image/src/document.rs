//! Parsing and checking manifests, indexes and configurations, without I/O.

use oci_spec::image::MediaType;
use serde::Deserialize;
use serde::de::IgnoredAny;
use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, Digest, ImageConfig, Index, Manifest};

use crate::error::DocumentError;
use crate::media_type;
use crate::printable::printable;

/// Bytes that a manifest or index may have. **Source** — OCI distribution-spec § Pushing Manifests:
/// registries must accept 4 MiB and need not accept more.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Bytes that a configuration may have. The largest in use have about 100 KiB.
pub const MAX_CONFIG: u64 = 8 << 20;

/// A document that registries serve under `/manifests/`.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one at a time, never kept")]
pub enum Document {
    /// An index, or Docker's manifest list.
    Index(Index),
    /// The manifest of one image, or of an artifact.
    Manifest(Manifest),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Index,
    Manifest,
}

/// The members that tell one kind of document from another.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads a document and returns it with its media type.
    ///
    /// `claimed` is the media type in the header or descriptor that led to the document. A document
    /// is refused if it is both an index and a manifest, or not of the claimed type: two readers
    /// could see two images in it.
    pub fn parse(claimed: Option<&str>, bytes: &[u8]) -> Result<(Self, MediaType), DocumentError> {
        let json = |source| DocumentError::Json { source };
        let probe: Probe = serde_json::from_slice(bytes).map_err(json)?;
        // Servers that do not know manifests send them as text or bytes.
        let says_nothing = |t: &&str| {
            !matches!(*t, "" | "application/json" | "text/plain" | "application/octet-stream")
        };
        let claimed = claimed.filter(says_nothing);
        let shape = probe.shape()?;
        let mut media_type = match shape {
            Kind::Index => MediaType::ImageIndex,
            Kind::Manifest => MediaType::ImageManifest,
        };
        for claim in [probe.media_type.as_deref(), claimed].into_iter().flatten() {
            check_claim(claim, shape)?;
            media_type = MediaType::from(claim);
        }
        if let (Some(claimed), Some(own)) = (claimed, probe.media_type.as_deref())
            && claimed != own
        {
            return Err(mismatch(claimed, own));
        }
        let document = match shape {
            Kind::Index => Self::Index(serde_json::from_slice(bytes).map_err(json)?),
            Kind::Manifest => Self::Manifest(serde_json::from_slice(bytes).map_err(json)?),
        };
        Ok((document, media_type))
    }
}

impl Probe {
    fn shape(&self) -> Result<Kind, DocumentError> {
        let not = |what: &str| DocumentError::NotAnImage { what: what.to_owned() };
        if self.schema_version == Some(1) {
            return Err(not("a manifest of Docker's schema 1, which is obsolete"));
        }
        match (&self.manifests, self.config.is_some() || self.layers.is_some()) {
            (Some(_), true) => Err(mismatch("an index", "a manifest as well")),
            (Some(_), false) => Ok(Kind::Index),
            (None, true) => Ok(Kind::Manifest),
            (None, false) => Err(not("neither a manifest nor an index")),
        }
    }
}

fn mismatch(claimed: &str, actual: &str) -> DocumentError {
    DocumentError::MediaType { claimed: printable(claimed, 100), actual: printable(actual, 100) }
}

/// Checks that a claimed media type is that of documents of this shape.
fn check_claim(claim: &str, shape: Kind) -> Result<(), DocumentError> {
    match (media_type::of(claim), shape) {
        (MediaType::ImageIndex, Kind::Index) | (MediaType::ImageManifest, Kind::Manifest) => Ok(()),
        (MediaType::ImageIndex, Kind::Manifest) => Err(mismatch(claim, "a manifest")),
        (MediaType::ImageManifest, Kind::Index) => Err(mismatch(claim, "an index")),
        _ => Err(DocumentError::NotAnImage { what: printable(claim, 100) }),
    }
}

/// Checks the size of a document before its bytes are read.
pub fn check_limit(descriptor: &Descriptor, limit: u64) -> Result<(), DocumentError> {
    if descriptor.size > limit {
        return Err(DocumentError::TooLarge { size: descriptor.size, limit });
    }
    Ok(())
}

/// Checks `bytes` against size and digest of the descriptor.
pub fn check_bytes(descriptor: &Descriptor, bytes: &[u8]) -> Result<(), DocumentError> {
    let actual = bytes.len() as u64;
    if actual != descriptor.size {
        return Err(DocumentError::Size { expected: descriptor.size, actual });
    }
    let actual = Digest::of(bytes);
    if actual != descriptor.digest {
        return Err(DocumentError::Digest { expected: descriptor.digest.clone(), actual });
    }
    Ok(())
}

/// Returns whether a manifest is that of a container image: artifacts have other configurations.
pub(crate) fn is_image(manifest: &Manifest) -> bool {
    media_type::of(&manifest.config.media_type) == MediaType::ImageConfig
}

/// Returns whether a descriptor points to an index.
pub(crate) fn is_index(descriptor: &Descriptor) -> bool {
    media_type::of(&descriptor.media_type) == MediaType::ImageIndex
}

/// Returns whether a descriptor points to the manifest of an image: artifacts have media types or
/// artifact types of their own.
pub(crate) fn is_manifest(descriptor: &Descriptor) -> bool {
    let artifact = descriptor.other.get("artifactType").and_then(|value| value.as_str());
    let artifact = artifact.filter(|kind| !kind.is_empty());
    media_type::of(&descriptor.media_type) == MediaType::ImageManifest
        && artifact.is_none_or(|kind| media_type::of(kind) == MediaType::ImageConfig)
}

/// Reads the configuration of `manifest` and checks that it fits the manifest.
pub(crate) fn parse_config(
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<ImageConfig, DocumentError> {
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|source| DocumentError::Json { source })?;
    let (layers, diff_ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(DocumentError::LayerCount { layers, diff_ids });
    }
    for layer in &manifest.layers {
        if Compression::of_media_type(&layer.media_type).is_none() {
            let media_type = printable(&layer.media_type, 100);
            return Err(DocumentError::LayerType { digest: layer.digest.clone(), media_type });
        }
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use xbuild_model::manifest::{
        DOCKER_INDEX, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
    };

    use super::*;

    const INDEX: &str = r#""schemaVersion":2,"manifests":[]"#;
    fn manifest() -> String {
        let digest = Digest::of(b"");
        let config = format!(r#"{{"mediaType":"{OCI_CONFIG}","digest":"{digest}","size":0}}"#);
        format!(r#""schemaVersion":2,"config":{config},"layers":[]"#)
    }

    #[test]
    fn tells_kinds_apart() {
        let manifest = manifest();
        let typed = |t: &str, rest: &str| format!(r#"{{"mediaType":"{t}",{rest}}}"#);
        let bare = |rest: &str| format!("{{{rest}}}");
        for (claimed, text, expected) in [
            (Some(OCI_INDEX), bare(INDEX), Some(OCI_INDEX)),
            (Some(DOCKER_INDEX), typed(DOCKER_INDEX, INDEX), Some(DOCKER_INDEX)),
            (Some("application/json"), typed(DOCKER_INDEX, INDEX), Some(DOCKER_INDEX)),
            (None, bare(&manifest), Some(OCI_MANIFEST)),
            (Some(DOCKER_MANIFEST), bare(&manifest), Some(DOCKER_MANIFEST)),
            // Header, document and shape disagree, in all ways.
            (Some(OCI_MANIFEST), bare(INDEX), None),
            (Some(OCI_INDEX), bare(&manifest), None),
            (Some(OCI_INDEX), typed(OCI_MANIFEST, INDEX), None),
            (Some(OCI_INDEX), typed(DOCKER_INDEX, INDEX), None),
            (None, typed(OCI_INDEX, &manifest), None),
            (Some(OCI_INDEX), bare(&format!(r#"{INDEX},"layers":[]"#)), None),
            (Some(OCI_MANIFEST), bare(&format!(r#"{manifest},"manifests":[]"#)), None),
            // Other things.
            (Some("application/vnd.cncf.helm"), bare(&manifest), None),
            (None, bare(r#""schemaVersion":1,"fsLayers":[]"#), None),
            (None, "{}".to_owned(), None),
            (None, "[]".to_owned(), None),
            (None, "null".to_owned(), None),
            (None, String::new(), None),
            (None, "[".repeat(1 << 16), None),
        ] {
            let found = Document::parse(claimed, text.as_bytes()).map(|(_, media_type)| media_type);
            let shown = &text[..text.len().min(200)];
            assert_eq!(found.ok().as_ref().map(MediaType::as_ref), expected, "{claimed:?} {shown}");
        }
    }

    #[test]
    fn refuses_digests_that_are_none() {
        let good = Digest::of(b"").to_string();
        for bad in [
            "sha256:../../v2/_catalog?",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
            "sha256:E3B0",
            "sha256:e3b0",
            "",
        ] {
            let text = format!("{{{}}}", manifest()).replace(&good, bad);
            assert!(Document::parse(None, text.as_bytes()).is_err(), "{bad}");
        }
        for size in ["-1", "1.5", "\"1\"", "18446744073709551616"] {
            let text =
                format!("{{{}}}", manifest()).replace("\"size\":0", &format!("\"size\":{size}"));
            assert!(Document::parse(None, text.as_bytes()).is_err(), "{size}");
        }
    }

    #[test]
    fn layers_and_diff_ids_match_one_to_one() {
        let (Document::Manifest(mut manifest), _) =
            Document::parse(None, format!("{{{}}}", manifest()).as_bytes()).unwrap()
        else {
            panic!("it is a manifest")
        };
        let digest = Digest::of(b"");
        let config = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{digest}"]}}}}"#);
        assert!(matches!(
            parse_config(&manifest, config.as_bytes()),
            Err(DocumentError::LayerCount { layers: 0, diff_ids: 1 })
        ));
        manifest.layers = vec![Descriptor::new("application/x-thing", digest.clone(), 0)];
        let error = parse_config(&manifest, config.as_bytes()).unwrap_err();
        assert!(matches!(error, DocumentError::LayerType { .. }), "{error}");
        manifest.layers[0].media_type = xbuild_model::manifest::OCI_LAYER_GZIP.to_owned();
        assert!(parse_config(&manifest, config.as_bytes()).is_ok());
    }
}
