//! Names of images: what they say about the place of an image.

use std::path::PathBuf;

use xbuild_model::Reference;

use crate::error::ImageError;

/// The place of an image.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The store, or else a registry.
    Name(Reference),
    /// A registry.
    Registry(Reference),
    /// An OCI layout, and the digest or tag in it.
    Layout(PathBuf, Option<String>),
}

/// Splits `DIR[:TAG]`, the name of an image in a layout. A tag has no slash.
pub fn layout_tag(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (text, None),
    }
}

/// Reads the name of an image: a reference, `docker-image://REF`, `docker://REF` for a registry
/// alone, `oci-layout://DIR[:TAG][@DIGEST]`.
pub(crate) fn place(name: &str) -> Result<Place, ImageError> {
    if let Some(rest) = name.strip_prefix("oci-layout://") {
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => (rest, Some(digest)),
            _ => (rest, None),
        };
        let (path, tag) = layout_tag(rest);
        // Beside a digest a tag is only a name, which buildx does not look up either.
        return Ok(Place::Layout(PathBuf::from(path), digest.or(tag).map(str::to_owned)));
    }
    if let Some(rest) = name.strip_prefix("docker://") {
        return Ok(Place::Registry(rest.parse()?));
    }
    let text = name.strip_prefix("docker-image://").unwrap_or(name);
    Ok(Place::Name(text.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_where_an_image_is() {
        let layout = |path: &str, tag: Option<&str>| {
            Place::Layout(PathBuf::from(path), tag.map(str::to_owned))
        };
        let digest = format!("sha256:{}", "0".repeat(64));
        for (name, expected) in [
            ("busybox", Place::Name("busybox".parse().unwrap())),
            ("docker-image://r.example/a:1", Place::Name("r.example/a:1".parse().unwrap())),
            ("docker://r.example/a:1", Place::Registry("r.example/a:1".parse().unwrap())),
            ("oci-layout:///a/b", layout("/a/b", None)),
            ("oci-layout://b:tag", layout("b", Some("tag"))),
            ("oci-layout:///a:b/c", layout("/a:b/c", None)),
            (&format!("oci-layout://b@{digest}"), layout("b", Some(&digest))),
            (&format!("oci-layout:///a/b:1.2@{digest}"), layout("/a/b", Some(&digest))),
            (&format!("oci-layout:///a:b/c@{digest}"), layout("/a:b/c", Some(&digest))),
        ] {
            assert_eq!(place(name).ok(), Some(expected), "{name}");
        }
        assert!(place("UPPER").is_err());
    }
}
