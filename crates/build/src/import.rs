//! Base images: from names to manifests and configurations.

use std::path::PathBuf;
use std::sync::Arc;

use xbuild_image::{Inspection, Layout};
use xbuild_model::{Cancel, Platform, Reference, ResolvedImage};
use xbuild_registry::Client;

use crate::error::{ImageError, InspectError};
use crate::events::Events;
use crate::machine::Machine;
use crate::wiring;

/// The place of an image.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Registry(Reference),
    /// An OCI layout, and the digest or tag in it.
    Layout(PathBuf, Option<String>),
}

/// Reads the name of an image: a reference, `docker-image://REF`, `oci-layout://DIR[:TAG][@DIGEST]`.
fn place(name: &str) -> Result<Place, ImageError> {
    if let Some(rest) = name.strip_prefix("oci-layout://") {
        let (rest, digest) = match rest.rsplit_once('@') {
            Some((rest, digest)) if digest.starts_with("sha256:") => (rest, Some(digest)),
            _ => (rest, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        // Beside a digest a tag is only a name, which buildx does not look up either.
        return Ok(Place::Layout(PathBuf::from(path), digest.or(tag).map(str::to_owned)));
    }
    let text = name.strip_prefix("docker-image://").unwrap_or(name);
    Ok(Place::Registry(text.parse()?))
}

/// Resolves an image for a platform.
pub(crate) fn resolve(
    client: &Client,
    name: &str,
    platform: &Platform,
) -> Result<ResolvedImage, ImageError> {
    match place(name)? {
        Place::Registry(reference) => Ok(client.resolve(&reference, platform)?),
        Place::Layout(path, tag) => Ok(Layout::open(&path)?.resolve(tag.as_deref(), platform)?),
    }
}

/// Reads the documents of an image. `events` takes warnings.
pub fn inspect(
    machine: &Machine,
    name: &str,
    events: &Arc<dyn Events>,
) -> Result<Inspection, InspectError> {
    match place(name)? {
        Place::Registry(reference) => {
            let client = wiring::client(machine, None, events, Cancel::default());
            Ok(client.inspect(&reference).map_err(ImageError::from)?)
        }
        Place::Layout(path, tag) => {
            let layout = Layout::open(&path).map_err(ImageError::from)?;
            Ok(layout.inspect(tag.as_deref()).map_err(ImageError::from)?)
        }
    }
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
            ("busybox", Place::Registry("busybox".parse().unwrap())),
            ("docker-image://r.example/a:1", Place::Registry("r.example/a:1".parse().unwrap())),
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
