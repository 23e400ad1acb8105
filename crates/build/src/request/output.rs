//! Outputs: where a result goes, and in which form.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_layer::Encoding;
use xbuild_model::Reference;

use super::annotations::Annotations;

/// Where a result goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Where it goes.
    pub target: Target,
    /// How the layers of the image are compressed. Files have no layers: ignored for them.
    pub layers: LayerForm,
    /// How manifests and index are written. Ignored for files.
    #[serde(default)]
    pub manifests: ManifestForm,
    /// What the names of files with statements begin with, in an output of files.
    #[serde(default)]
    pub attestation_prefix: String,
    /// Names that only the archive or layout of this output has, in place of those of the image.
    #[serde(default)]
    pub names: Vec<Reference>,
}

/// How manifests and index are written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestForm {
    /// Whether the media types are Docker's instead of OCI's.
    pub docker_types: bool,
    /// Annotations, over those of the request.
    pub annotations: Annotations,
    /// Whether manifests of attestations look like those of images, instead of artifacts.
    #[serde(default)]
    pub attestations_like_images: bool,
    /// Whether foreign layers become ordinary ones.
    #[serde(default)]
    pub foreign_as_ordinary: bool,
}

/// How the layers of an image are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerForm {
    /// The compression of new layers.
    #[serde(with = "encoding")]
    pub encoding: Encoding,
    /// Whether layers of base images are compressed like that, too, instead of staying as they are.
    pub force: bool,
    /// Whether times after `SOURCE_DATE_EPOCH` in new layers become that time.
    #[serde(default)]
    pub clamp_times: bool,
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An OCI layout as a tar file, `None` for standard output.
    OciTar(Option<PathBuf>),
    /// An OCI layout as a folder.
    OciFolder(PathBuf),
    /// An archive of `docker save` that is an OCI layout, too, `None` for standard output. Of an
    /// image for several platforms it has one.
    Docker(Option<PathBuf>),
    /// A container engine of this machine: docker or podman. Of an image for several platforms it
    /// gets one.
    Engine,
    /// The files of the image as a tar file, `None` for standard output.
    Tar(Option<PathBuf>, Split),
    /// The files of the image as a folder.
    Local(PathBuf, Split),
    /// The store, under these names besides the tags.
    Image {
        /// Further names.
        names: Vec<Reference>,
        /// Whether the image is pushed under its names.
        push: bool,
        /// What else is asked for.
        #[serde(default)]
        options: ImageOptions,
    },
    /// Nowhere: only the cache keeps it.
    CacheOnly,
}

/// Where the files of each platform go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Split {
    /// Into a folder for each platform, if there are several.
    #[default]
    Several,
    /// Into a folder for each platform, also for a single one.
    Always,
    /// Into one folder for all.
    Never,
}

/// The options of an image that goes to the store or a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageOptions {
    /// Whether it is pushed without a tag: only its digest names it.
    pub by_digest: bool,
    /// Whether the store also knows it as `NAME@DIGEST`.
    pub canonical: bool,
    /// Whether the registries of its names need no certificate, nor TLS.
    pub insecure: bool,
    /// Whether the store keeps it.
    pub store: bool,
}

impl Default for ImageOptions {
    fn default() -> Self {
        Self { by_digest: false, canonical: false, insecure: false, store: true }
    }
}

impl Output {
    /// Returns an output in the default form.
    pub fn new(target: Target) -> Self {
        let (layers, manifests) = (LayerForm::default(), ManifestForm::default());
        let (attestation_prefix, names) = (String::new(), Vec::new());
        Self { target, layers, manifests, attestation_prefix, names }
    }

    /// Returns whether the result goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.target, Target::OciTar(None) | Target::Docker(None) | Target::Tar(None, _))
    }
}

/// An encoding as text, the way that [`Encoding`] displays: `tar`, `gzip-3`, `zstd-3`.
mod encoding {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;
    use xbuild_layer::Encoding;
    use xbuild_model::manifest::Compression;

    pub(super) fn serialize<S: Serializer>(value: &Encoding, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Encoding, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| {
            D::Error::custom(format_args!("unknown compression {}", xbuild_wording::quoted(&text)))
        })
    }

    fn parse(text: &str) -> Option<Encoding> {
        let (name, level) = match text.split_once('-') {
            Some((name, level)) => (name, Some(level.parse().ok()?)),
            None => (text, None),
        };
        let compression = match name {
            "tar" => Compression::None,
            "gzip" => Compression::Gzip,
            "zstd" => Compression::Zstd,
            _ => return None,
        };
        Encoding::new(compression, level)
    }
}

/// An encoding that need not be given.
pub(super) mod some_encoding {
    use serde::de::{Deserialize, Deserializer};
    use serde::ser::Serializer;
    use xbuild_layer::Encoding;

    pub(crate) fn serialize<S: Serializer>(
        value: &Option<Encoding>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(encoding) => to.serialize_some(&encoding.to_string()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Encoding>, D::Error> {
        #[derive(serde::Deserialize)]
        struct Given(#[serde(with = "super::encoding")] Encoding);
        Ok(Option::<Given>::deserialize(from)?.map(|given| given.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        use xbuild_model::manifest::Compression::{Gzip, None as Plain, Zstd};
        for (compression, level) in [(Plain, None), (Gzip, Some(0)), (Gzip, None), (Zstd, Some(22))]
        {
            let encoding = Encoding::new(compression, level).unwrap();
            let form = LayerForm { encoding, force: true, clamp_times: true };
            let text = serde_json::to_string(&form).unwrap();
            assert_eq!(serde_json::from_str::<LayerForm>(&text).unwrap(), form, "{text}");
        }
        let bad = r#"{"encoding": "zstd-23", "force": false}"#;
        assert!(serde_json::from_str::<LayerForm>(bad).is_err());
    }
}
