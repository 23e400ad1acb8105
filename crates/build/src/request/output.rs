//! Outputs: where a result goes, and in which form.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_layer::Encoding;
use xbuild_model::Reference;

/// Where a result goes, and in which form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Where it goes.
    pub target: Target,
    /// How the layers of the image are compressed. Files have no layers: ignored for them.
    pub layers: LayerForm,
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
}

/// Where a result goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// An OCI layout as a tar file, `None` for standard output.
    OciTar(Option<PathBuf>),
    /// An OCI layout as a folder.
    OciFolder(PathBuf),
    /// The files of the image as a tar file, `None` for standard output.
    Tar(Option<PathBuf>),
    /// The files of the image as a folder.
    Local(PathBuf),
    /// The store, under these names besides the tags.
    Image {
        /// Further names.
        names: Vec<Reference>,
        /// Whether the image is pushed under its names.
        push: bool,
        /// Whether a push gives no tag: the image can be pulled only by its digest. The tags of the
        /// names do not count.
        by_digest: bool,
    },
    /// Nowhere: only the cache keeps it.
    CacheOnly,
}

impl Output {
    /// Returns whether the result goes to standard output.
    pub fn is_stdout(&self) -> bool {
        matches!(self.target, Target::OciTar(None) | Target::Tar(None))
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
        parse(&text).ok_or_else(|| D::Error::custom(format_args!("unknown compression {text:?}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_written() {
        use xbuild_model::manifest::Compression::{Gzip, None as Plain, Zstd};
        for (compression, level) in [(Plain, None), (Gzip, Some(0)), (Gzip, None), (Zstd, Some(22))]
        {
            let encoding = Encoding::new(compression, level).unwrap();
            let form = LayerForm { encoding, force: true };
            let text = serde_json::to_string(&form).unwrap();
            assert_eq!(serde_json::from_str::<LayerForm>(&text).unwrap(), form, "{text}");
        }
        let bad = r#"{"encoding": "zstd-23", "force": false}"#;
        assert!(serde_json::from_str::<LayerForm>(bad).is_err());
    }
}
