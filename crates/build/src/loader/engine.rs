//! An engine that takes images.

use std::collections::HashSet;
use std::error::Error as _;
use std::io::{self, Write};

use serde_json::Value;
use tracing::debug;
use xbuild_image::{Built, Document, LayoutContent, LayoutError, NamedContent};
use xbuild_model::{Descriptor, DiffId, Digest, ImageConfig, Reference};
use xbuild_registry::{Daemon, DaemonError};

use super::known::{MAX_IMAGES, layers_of};
use super::podman::Podman;
use crate::error::LoadError;

/// A container engine.
#[derive(Debug)]
pub(crate) enum Loader {
    /// A daemon, with its name for users and the version of its API.
    Daemon { daemon: Daemon, name: String, is_podman: bool, api: (u32, u32) },
    /// The program of podman.
    Podman(Podman),
}

/// An image for one platform to load.
#[derive(Debug)]
pub(crate) struct Loaded<'a> {
    /// Its documents and blobs, in the form of an archive for Docker.
    pub(crate) built: &'a Built<'a>,
    /// The digest of its configuration.
    pub(crate) id: &'a Digest,
    /// That configuration.
    pub(crate) config: &'a [u8],
    /// Its names.
    pub(crate) names: &'a [Reference],
}

impl Loader {
    /// Returns the name of the engine for users.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Daemon { name, .. } => name.clone(),
            Self::Podman(_) => "podman".to_owned(),
        }
    }

    /// Loads an image and returns how many of its layers were sent.
    pub(crate) fn load(&self, image: &Loaded<'_>) -> Result<usize, LoadError> {
        let layers = layers(image.built);
        let diff_ids = diff_ids(image.config);
        // An engine that cannot tell lacks them all.
        let known = self.images().unwrap_or_default();
        let count = known.iter().map(|other| common(other, &diff_ids)).max().unwrap_or(0);
        let (old, new) = layers.split_at(count.min(layers.len()));
        if !old.is_empty() {
            // A new layer may have the same blob as an old one.
            let needed: HashSet<_> = new.iter().map(|layer| &layer.digest).collect();
            let omitted = old.iter().map(|layer| layer.digest.clone());
            let omitted = omitted.filter(|digest| !needed.contains(digest)).collect();
            let sent = self.send(image, &omitted).and_then(|()| self.check(image, &diff_ids));
            match sent {
                Ok(()) => return Ok(new.len()),
                Err(error) => {
                    let cause = error.source().map(ToString::to_string);
                    debug!(%error, cause, "the engine lacks layers; all are sent");
                }
            }
        }
        self.send(image, &HashSet::new())?;
        self.check(image, &diff_ids)?;
        Ok(layers.len())
    }

    /// Sends an archive without some blobs, and gives the image its names.
    fn send(&self, image: &Loaded<'_>, omitted: &HashSet<Digest>) -> Result<(), LoadError> {
        // podman reads an archive with several names as one of `docker save`: it wants all layers to be
        // there, and does not remember their digests.
        let count = if self.is_podman() { 1 } else { image.names.len() };
        let (names, more) = image.names.split_at(count.min(image.names.len()));
        self.send_named(image, names, omitted)?;
        if let (Some(first), false) = (names.first(), more.is_empty()) {
            self.tag(&first.to_string(), more)?;
        }
        Ok(())
    }

    fn is_podman(&self) -> bool {
        matches!(self, Self::Podman(_) | Self::Daemon { is_podman: true, .. })
    }

    /// Gives an image of the engine more names.
    fn tag(&self, image: &str, names: &[Reference]) -> Result<(), LoadError> {
        match self {
            Self::Daemon { daemon, .. } => names.iter().try_for_each(|name| {
                let tag = name.tag().unwrap_or("latest");
                let repository = format!("{}/{}", name.registry(), name.repository());
                let (image, repository) = (escaped(image), escaped(&repository));
                let path = format!("/images/{image}/tag?repo={repository}&tag={tag}");
                daemon.post(&path).map_err(|source| self.fault(source))
            }),
            Self::Podman(podman) => podman.tag(image, names),
        }
    }

    /// Sends an archive of an image with these names.
    fn send_named(
        &self,
        image: &Loaded<'_>,
        names: &[Reference],
        omitted: &HashSet<Digest>,
    ) -> Result<(), LoadError> {
        let named = NamedContent { built: image.built, names, tag: None };
        let content = LayoutContent { is_docker: true, ..named.alone() };
        let write = |out: &mut dyn Write| {
            content.write_tar_without(out, omitted).map_err(|error| match error {
                LayoutError::Io { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => {
                    source
                }
                error => io::Error::other(error),
            })
        };
        match self {
            Self::Daemon { daemon, .. } => daemon.load(&write).map_err(|source| self.fault(source)),
            Self::Podman(podman) => podman.load(&write),
        }
    }

    /// Returns the layers of the engine's images.
    fn images(&self) -> Result<Vec<Vec<DiffId>>, LoadError> {
        match self {
            Self::Daemon { daemon, api, .. } => {
                daemon_images(daemon, *api).map_err(|source| self.fault(source))
            }
            Self::Podman(podman) => podman.images(),
        }
    }

    /// Checks that the engine has the image under all its names.
    fn check(&self, image: &Loaded<'_>, diff_ids: &[DiffId]) -> Result<(), LoadError> {
        if image.names.is_empty() {
            // Docker's older store knows images by their configurations, containerd by their manifests.
            let manifest = image.built.content.root().descriptor.digest.to_string();
            let by_id = self.check_one(image, &image.id.to_string(), diff_ids);
            return by_id.or_else(|_| self.check_one(image, &manifest, diff_ids));
        }
        let mut names = image.names.iter();
        names.try_for_each(|name| self.check_one(image, &name.to_string(), diff_ids))
    }

    fn check_one(
        &self,
        image: &Loaded<'_>,
        name: &str,
        diff_ids: &[DiffId],
    ) -> Result<(), LoadError> {
        let (has, is_whole) = match self {
            Self::Daemon { daemon, .. } => {
                let found = daemon.get(&format!("/images/{}/json?manifests=1", escaped(name)));
                let found = found.map_err(|source| self.fault(source))?;
                (layers_of(&found), is_whole(&found, &image.built.content.root().descriptor.digest))
            }
            Self::Podman(podman) => (podman.image(name)?, true),
        };
        match has == diff_ids && is_whole {
            true => Ok(()),
            false => Err(LoadError::Missing { engine: self.name(), name: name.to_owned() }),
        }
    }

    fn fault(&self, source: DaemonError) -> LoadError {
        LoadError::Daemon { engine: self.name(), source }
    }
}

/// Returns the layers of an image in an archive, compressed.
fn layers(built: &Built<'_>) -> Vec<Descriptor> {
    let root = built.content.root();
    match Document::parse(Some(&root.descriptor.media_type), &root.bytes) {
        Ok((Document::Manifest(manifest), _)) => manifest.layers,
        _ => Vec::new(),
    }
}

/// Returns the layers of a configuration that this build made.
fn diff_ids(config: &[u8]) -> Vec<DiffId> {
    let config: ImageConfig = serde_json::from_slice(config).unwrap_or_default();
    config.rootfs.diff_ids
}

/// Returns how many layers, the oldest, two images share.
fn common(one: &[DiffId], other: &[DiffId]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// Returns whether no manifest of an image that a daemon shows lacks a blob. Only the image store of
/// containerd shows manifests.
fn is_whole(image: &Value, manifest: &Digest) -> bool {
    let manifest = manifest.to_string();
    let mut shown = image["Manifests"].as_array().into_iter().flatten();
    shown.all(|one| one["ID"] != *manifest || one["Available"] == true)
}

/// The first version of the API that says whether an image is whole.
const SHOWS_MANIFESTS: (u32, u32) = (1, 48);

/// Returns the layers of the images of a daemon.
fn daemon_images(daemon: &Daemon, api: (u32, u32)) -> Result<Vec<Vec<DiffId>>, DaemonError> {
    // With the image store of containerd a layer may be unpacked and its blob gone.
    if api < SHOWS_MANIFESTS {
        let info = daemon.get("/info")?;
        if info["DriverStatus"].to_string().contains("io.containerd.snapshotter") {
            return Ok(Vec::new());
        }
    }
    let list = daemon.get("/images/json?all=1")?;
    let ids = list.as_array().into_iter().flatten().filter_map(|image| image["Id"].as_str());
    let image = |id: &str| daemon.get(&format!("/images/{}/json", escaped(id)));
    ids.take(MAX_IMAGES).map(|id| image(id).map(|image| layers_of(&image))).collect()
}

/// Escapes a name of an image for a URL: `@` and `:` may be in it as they are, and slashes must.
fn escaped(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte);
    let part = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(part).collect()
}
