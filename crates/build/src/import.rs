//! Base images: from the names that a plan asks for to manifests and configurations.

use std::path::PathBuf;

use xbuild_image::{Inspection, Layout, LayoutError, ResolveError};
use xbuild_model::{FailureKind, Platform, Reference, ResolvedImage};
use xbuild_registry::{Client, PullError};

use crate::machine::Machine;
use crate::problem::Problem;
use crate::wiring;

/// Where an image is.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Registry(Reference),
    /// A folder, and the tag or digest in it.
    Layout(PathBuf, Option<String>),
}

/// Reads the name of an image: a reference, `docker-image://REF`, `oci-layout://DIR[:TAG|@DIGEST]`.
fn place(name: &str) -> Result<Place, Problem> {
    if let Some(rest) = name.strip_prefix("oci-layout://") {
        let (path, tag) = match rest.rsplit_once('@') {
            Some((path, digest)) if digest.starts_with("sha256:") => (path, Some(digest)),
            _ => match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
                _ => (rest, None),
            },
        };
        return Ok(Place::Layout(PathBuf::from(path), tag.map(str::to_owned)));
    }
    let text = name.strip_prefix("docker-image://").unwrap_or(name);
    let reference = text.parse();
    reference
        .map(Place::Registry)
        .map_err(|error: xbuild_model::ReferenceError| Problem::input(error.to_string()))
}

/// Resolves an image for a platform.
pub fn resolve(client: &Client, name: &str, platform: &Platform) -> Result<ResolvedImage, Problem> {
    match place(name)? {
        Place::Registry(reference) => client.resolve(&reference, platform).map_err(remote),
        Place::Layout(path, tag) => {
            let layout = Layout::open(&path).map_err(local)?;
            layout.resolve(tag.as_deref(), platform).map_err(local)
        }
    }
}

/// Reads the documents of an image.
pub fn inspect(machine: &Machine, name: &str) -> Result<Inspection, Problem> {
    match place(name)? {
        Place::Registry(reference) => {
            wiring::client(machine, None)?.inspect(&reference).map_err(remote)
        }
        Place::Layout(path, tag) => {
            let layout = Layout::open(&path).map_err(local)?;
            layout.inspect(tag.as_deref()).map_err(local)
        }
    }
}

fn remote(error: PullError) -> Problem {
    let kind = match error {
        // The registry did its part: the Dockerfile or the command line asks for too much.
        PullError::Image { source: ResolveError::NoPlatform { .. } } => FailureKind::User,
        _ => FailureKind::Remote,
    };
    Problem::of(kind, &error)
}

fn local(error: LayoutError) -> Problem {
    Problem::of(FailureKind::User, &error)
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
        ] {
            assert_eq!(place(name).ok(), Some(expected), "{name}");
        }
        assert!(place("UPPER").is_err());
    }
}
