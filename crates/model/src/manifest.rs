//! Descriptors, manifests and indexes, in OCI and Docker spelling.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Digest;
use crate::null::{null_is_default, texts};

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image configuration.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI layer, uncompressed.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, Zstandard.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker manifest list.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker image configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, uncompressed.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// OCI layer that may not be distributed, uncompressed.
pub const OCI_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
/// OCI layer that may not be distributed, gzip.
pub const OCI_FOREIGN_GZIP: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
/// OCI layer that may not be distributed, Zstandard.
pub const OCI_FOREIGN_ZSTD: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd";
/// Docker layer that may not be distributed, gzip.
pub const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
/// Docker layer that may not be distributed, uncompressed.
pub const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

/// How a layer's blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar stream.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Zstandard (RFC 8878).
    Zstd,
}

impl Compression {
    /// Returns the compression that a layer's media type names; `None` for layers that xbuild cannot
    /// read (encrypted ones), and for other blobs.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_LAYER | DOCKER_LAYER => Some(Self::None),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Some(Self::Gzip),
            OCI_LAYER_ZSTD => Some(Self::Zstd),
            "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Self::Zstd),
            OCI_FOREIGN | DOCKER_FOREIGN => Some(Self::None),
            OCI_FOREIGN_GZIP | DOCKER_FOREIGN_GZIP => Some(Self::Gzip),
            OCI_FOREIGN_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Returns the compression of a blob by its first bytes, at least 512 if it has so many: writers
    /// of media types are often wrong.
    ///
    /// A tar stream is told by the checksum of its first header, since the name of its first file
    /// may look like anything. An empty blob is an empty tar stream.
    pub fn of_bytes(head: &[u8]) -> Self {
        match head {
            head if is_tar_header(head) => Self::None,
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A frame that is skipped may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Returns the media type of an OCI layer with this compression that may not be distributed.
    pub fn foreign_media_type(self) -> &'static str {
        match self {
            Self::None => OCI_FOREIGN,
            Self::Gzip => OCI_FOREIGN_GZIP,
            Self::Zstd => OCI_FOREIGN_ZSTD,
        }
    }

    /// Returns the media type of an OCI layer with this compression.
    pub fn oci_media_type(self) -> &'static str {
        match self {
            Self::None => OCI_LAYER,
            Self::Gzip => OCI_LAYER_GZIP,
            Self::Zstd => OCI_LAYER_ZSTD,
        }
    }
}

/// Returns whether bytes begin with a tar header. **Source** — POSIX.1-2017 `pax` § ustar.
fn is_tar_header(head: &[u8]) -> bool {
    let Some(head) = head.get(..512) else { return false };
    let sum: u64 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
        .sum();
    let text = std::str::from_utf8(&head[148..156]).unwrap_or_default();
    let text = text.trim_matches([' ', '\0']);
    u64::from_str_radix(text, 8).is_ok_and(|written| written == sum)
}

/// A typed pointer to a blob.
///
/// **Source** — OCI image-spec `descriptor.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type of the blob.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as stored (compressed).
    pub size: u64,
    /// In an index: the platform that the manifest is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<DescriptorPlatform>,
    /// Free annotations.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Members that xbuild does not know, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Descriptor {
    /// Returns the descriptor of `bytes`.
    pub fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Returns whether this is a layer that is fetched from the places which its descriptor names, and
    /// pushed nowhere: those of old Windows images, which their licence does not let others
    /// distribute.
    ///
    /// **Source** — OCI image-spec `layer.md` § Non-Distributable Layers.
    pub fn is_foreign(&self) -> bool {
        let types =
            [OCI_FOREIGN, OCI_FOREIGN_GZIP, OCI_FOREIGN_ZSTD, DOCKER_FOREIGN, DOCKER_FOREIGN_GZIP];
        types.contains(&&*self.media_type) && self.foreign_urls().next().is_some()
    }

    /// Returns the places that a foreign layer can be fetched from, `http` and `https` URLs.
    pub fn foreign_urls(&self) -> impl Iterator<Item = &str> {
        let urls = self.other.get("urls").and_then(Value::as_array).into_iter().flatten();
        let urls = urls.filter_map(Value::as_str);
        urls.filter(|url| url.starts_with("https://") || url.starts_with("http://"))
    }

    /// Returns a descriptor without platform and annotations; `size` in bytes.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            other: Map::new(),
        }
    }
}

/// The platform of a manifest, as an index writes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorPlatform {
    /// The processor architecture; empty if the index leaves it out.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// The operating system; empty if the index leaves it out.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// The version of the operating system.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// An image manifest.
///
/// **Source** — OCI image-spec `manifest.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    #[serde(default = "version")]
    pub schema_version: u32,
    /// The media type of the manifest itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, the oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An image index.
///
/// Entries that cannot be read, such as one with a digest of another algorithm, do not spoil the
/// others.
///
/// **Source** — OCI image-spec `image-index.md`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", from = "WrittenIndex")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// The media type of the index itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests, in the order that matters to whoever wrote them.
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The entries that cannot be read, as they are. They are not written.
    #[serde(skip)]
    pub unreadable: Vec<Value>,
}

/// An index as it may be written.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenIndex {
    #[serde(default = "version")]
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<Vec<Value>>,
    #[serde(default, deserialize_with = "texts")]
    annotations: BTreeMap<String, String>,
}

impl From<WrittenIndex> for Index {
    fn from(written: WrittenIndex) -> Self {
        let WrittenIndex { schema_version, media_type, manifests: entries, annotations } = written;
        let (mut manifests, mut unreadable) = (Vec::new(), Vec::new());
        for entry in entries.unwrap_or_default() {
            match Descriptor::deserialize(&entry) {
                Ok(descriptor) => manifests.push(descriptor),
                Err(_) => unreadable.push(entry),
            }
        }
        Self { schema_version, media_type, manifests, annotations, unreadable }
    }
}

fn version() -> u32 {
    2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_that_cannot_be_read_spoils_no_other() {
        let digest = Digest::of(b"");
        let good =
            format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{digest}","size":1,"x":[]}}"#);
        for bad in [
            "null".to_owned(),
            "7".to_owned(),
            "{}".to_owned(),
            good.replace("sha256", "sha512"),
            good.replace(":1,", ":-1,"),
            good.replace("\"x\":[]", "\"platform\":7"),
        ] {
            let text = format!(r#"{{"manifests":[{bad},{good}],"annotations":null,"new":1}}"#);
            let index: Index = serde_json::from_str(&text).unwrap();
            assert_eq!((index.manifests.len(), index.unreadable.len()), (1, 1), "{bad}");
        }
        for odd in [
            r#""annotations":null"#,
            r#""annotations":{"a":null}"#,
            r#""platform":null"#,
            r#""platform":{"os":"linux"}"#,
            r#""platform":{"architecture":null,"os":null,"os.features":null,"variant":null}"#,
            r#""urls":null,"data":null,"artifactType":null"#,
        ] {
            let text = format!(r#"{{"manifests":[{}]}}"#, good.replace("\"x\":[]", odd));
            let index: Index = serde_json::from_str(&text).unwrap();
            assert_eq!(index.manifests.len(), 1, "{odd}");
        }
        let index: Index = serde_json::from_str(r#"{"manifests":null}"#).unwrap();
        assert!(index.manifests.is_empty());
    }
}
