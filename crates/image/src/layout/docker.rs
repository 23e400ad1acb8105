//! `manifest.json`: what makes an OCI layout in a tar archive an archive of `docker save`, too.
//!
//! **Source** — Docker image specification 1.2 § Combined Image JSON + Filesystem Changeset Format;
//! `docker save` writes OCI layouts with this file since Docker 25.

use serde::{Deserialize, Serialize};
use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, Reference};

use crate::content::Content;
use crate::document::Document;
use crate::error::LayoutError;

/// The name of the file.
pub(crate) const MANIFEST: &str = "manifest.json";

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerImage {
    /// The path of the configuration.
    pub config: String,
    /// The names, with tags.
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    /// The paths of the layers, oldest first.
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// Returns the bytes of `manifest.json`.
///
/// **Errors** — an image is one for several platforms, or has a layer that is compressed with zstd.
pub(super) fn manifest<'a>(
    images: impl Iterator<Item = (&'a Content, &'a [Reference])>,
) -> Result<Vec<u8>, LayoutError> {
    let images =
        images.map(|(content, names)| image(content, names)).collect::<Result<Vec<_>, _>>()?;
    Ok(serde_json::to_vec(&images).expect("the document has string keys only"))
}

fn image(content: &Content, names: &[Reference]) -> Result<DockerImage, LayoutError> {
    let root = content.root();
    let name =
        || names.first().map_or_else(|| root.descriptor.digest.to_string(), ToString::to_string);
    let refuse = |reason| LayoutError::NotDocker { name: name(), reason };
    let manifest = match Document::parse(Some(&root.descriptor.media_type), &root.bytes) {
        Ok((Document::Manifest(manifest), _)) => manifest,
        _ => return Err(refuse("it is an index of several platforms")),
    };
    let is_zstd = |layer: &Descriptor| {
        Compression::of_media_type(&layer.media_type) == Some(Compression::Zstd)
    };
    if manifest.layers.iter().any(is_zstd) {
        return Err(refuse("a layer is compressed with zstd"));
    }
    let path = |blob: &Descriptor| format!("blobs/sha256/{}", blob.digest.hex());
    Ok(DockerImage {
        config: path(&manifest.config),
        repo_tags: Some(names.iter().map(ToString::to_string).collect()),
        layers: Some(manifest.layers.iter().map(path).collect()),
    })
}
