//! Images and clients for tests.

use std::io::Read;
use std::time::Duration;

use serde_json::json;
use xbuild_model::manifest::{OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use xbuild_model::{Descriptor, Digest, Platform, Reference, ResolvedImage};
use xbuild_registry::{Client, ClientOptions, Credentials, Push, PushError, Retries, Timeouts};
use xbuild_testkit::images::Images;
use xbuild_testkit::registry::Registry;

/// Options with short waits.
pub fn options() -> ClientOptions {
    ClientOptions {
        retries: Retries {
            is_hasty: false,
            attempts: 5,
            first_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(20),
            max_asked: Duration::from_secs(30),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            head: Duration::from_secs(5),
            stall: Duration::from_secs(5),
            commit: Duration::from_secs(5),
        },
        ..ClientOptions::default()
    }
}

pub fn client() -> Client {
    Client::new(options())
}

/// A client that knows `user` and `pass` for the registry.
pub fn client_of(registry: &Registry) -> Client {
    // "user:pass"
    let text = json!({"auths": {registry.host(): {"auth": "dXNlcjpwYXNz"}}}).to_string();
    Client::new(ClientOptions { credentials: logins(&text), ..options() })
}

/// The logins of a file without faults.
pub fn logins(text: &str) -> Credentials {
    let mut credentials = Credentials::default();
    assert!(credentials.add_file(text).is_empty());
    credentials
}

pub fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

pub fn reference(registry: &Registry, rest: &str) -> Reference {
    format!("{}/{rest}", registry.host()).parse().unwrap()
}

/// Puts an image into the registry and returns its descriptor, as an index names it.
pub fn put_image(
    registry: &Registry,
    repository: &str,
    tag: &str,
    name: &str,
    layers: &[&[u8]],
) -> Descriptor {
    let platform = platform(name);
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    let config = json!({
        "os": platform.os(), "architecture": platform.architecture(),
        "variant": platform.variant(),
        "config": {"Env": ["A=b"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    registry.put_blob(repository, config.as_bytes());
    let layer = |bytes: &&[u8]| {
        registry.put_blob(repository, bytes);
        Descriptor::of(OCI_LAYER, bytes)
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": Descriptor::of(OCI_CONFIG, config.as_bytes()),
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let manifest = manifest.to_string();
    registry.put_manifest(repository, tag, OCI_MANIFEST, manifest.as_bytes());
    let mut descriptor = Descriptor::of(OCI_MANIFEST, manifest.as_bytes());
    descriptor.platform = Some(platform.to_descriptor());
    descriptor
}

/// Puts an index into the registry.
pub fn put_index(
    registry: &Registry,
    repository: &str,
    tag: &str,
    manifests: &[Descriptor],
) -> Descriptor {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
    let index = index.to_string();
    registry.put_manifest(repository, tag, OCI_INDEX, index.as_bytes());
    Descriptor::of(OCI_INDEX, index.as_bytes())
}

/// Pushes images whose layers are all in files.
pub fn push(images: &Images, client: &Client, targets: &[Reference]) -> Result<(), PushError> {
    let built = images.built();
    client.push(&Push { targets, by_digest: false, built: &built, progress: &|_| {} })
}

/// Reads the layer `number` of an image through the client.
pub fn read_layer(
    client: &Client,
    image: &ResolvedImage,
    number: usize,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    use xbuild_model::seam::Blobs as _;
    let mut bytes = Vec::new();
    client
        .open(&image.layers[number].descriptor, &image.layers[number].source, 0)?
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// An error with all its causes, in one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The user whom registries and token servers let in.
pub(crate) fn user() -> Option<(String, String)> {
    Some(("user".to_owned(), "pass".to_owned()))
}

/// A registry with an image of one small layer.
pub(crate) fn base() -> Registry {
    let registry = Registry::start();
    put_image(&registry, "base", "latest", "linux/amd64", &[b"layer"]);
    registry
}

/// Resolves the base image and reads its layer.
pub(crate) fn pull(client: &Client, registry: &Registry) -> Result<Vec<u8>, String> {
    let image = client
        .resolve(&reference(registry, "base"), &platform("linux/amd64"))
        .map_err(|error| chain(&error))?;
    read_layer(client, &image, 0).map_err(|error| chain(&*error))
}

/// A registry with an image whose only layer has some hundred thousand bytes.
pub(crate) fn large_base() -> (Registry, Client, ResolvedImage, Vec<u8>) {
    let registry = Registry::start();
    let layer: Vec<u8> = (0..400_000u32).map(|i| (i / 3 % 251) as u8).collect();
    put_image(&registry, "base", "latest", "linux/amd64", &[&layer]);
    let client = client();
    let image = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    (registry, client, image, layer)
}
