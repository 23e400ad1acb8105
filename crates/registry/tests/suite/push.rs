//! Pushing images.

use std::sync::Mutex;

use xbuild_image::Built;
use xbuild_model::manifest::{OCI_INDEX, OCI_LAYER};
use xbuild_model::{Descriptor, Digest, LayerBlob, ResolvedImage};
use xbuild_registry::{BlobOutcome, Push, PushEvent};
use xbuild_testkit::images::{Images, Nowhere, file};
use xbuild_testkit::registry::{Action, Fault, Registry, Rules};
use xbuild_testkit::wire::Response;

use crate::fixture::{client, platform, push, put_image, reference};

const PLATFORMS: &[&str] = &["linux/arm64", "linux/amd64"];

#[test]
fn pushes_blobs_then_manifests_then_tags() {
    let registry = Registry::start();
    let images = Images::new(PLATFORMS, &[b"shared", b""]);
    let targets = ["app:1", "app:latest", "other:1"].map(|name| reference(&registry, name));
    let client = client();
    push(&images, &client, &targets).unwrap();
    for target in &targets {
        let (media_type, bytes) =
            registry.manifest(target.repository(), target.tag().unwrap()).unwrap();
        assert_eq!((media_type.as_str(), &bytes[..]), (OCI_INDEX, images.assembled.root().1));
        for name in PLATFORMS {
            let image = client.resolve(target, &platform(name)).unwrap();
            assert_eq!(image.platform, platform(name));
        }
    }
    let log = registry.log();
    let last = |part: &str| {
        let writes = |r: &&xbuild_testkit::wire::Request| r.method == "PUT";
        log.iter().rposition(|r| writes(&r) && r.target.contains(part)).unwrap()
    };
    let first_tag =
        log.iter().position(|r| r.method == "PUT" && r.path().ends_with("/manifests/1")).unwrap();
    assert!(last("/v2/app/blobs/") < last("/v2/app/manifests/sha256:"));
    assert!(last("/v2/other/manifests/sha256:") < first_tag);
    // A blob that is there is not sent again; one that a sibling has is mounted.
    assert_eq!(registry.count("PUT", "/v2/other/blobs/"), 0);
    let puts = registry.count("PUT", "/blobs/");
    push(&images, &client, &targets).unwrap();
    assert_eq!(registry.count("PUT", "/blobs/"), puts);
}

#[test]
fn one_platform_is_one_manifest_and_by_digest_has_no_tag() {
    let registry = Registry::start();
    let images = Images::new(&["linux/amd64"], &[]);
    let push = Push {
        targets: &[reference(&registry, "app")],
        by_digest: true,
        built: &images.built(),
        progress: &|_| {},
    };
    client().push(&push).unwrap();
    let digest = &images.assembled.root().0.digest;
    assert!(registry.manifest("app", &digest.to_string()).is_some());
    assert!(registry.manifest("app", "latest").is_none());
}

/// Puts a base image into a registry; returns an image on top of it, and the base.
fn on_base(registry: &Registry) -> (Images, ResolvedImage) {
    put_image(registry, "base", "latest", "linux/amd64", &[b"base layer"]);
    let base = client().resolve(&reference(registry, "base"), &platform("linux/amd64")).unwrap();
    (Images::new(&["linux/amd64"], &[b"base layer"]), base)
}

/// Pushes an image on top of a base and returns how each blob got there.
fn push_on_base(from: &Registry, to: &Registry, pulled: bool) -> Vec<(Digest, BlobOutcome)> {
    let (images, base) = on_base(from);
    let (client, outcomes) = (client(), Mutex::new(Vec::new()));
    let push = Push {
        targets: &[reference(to, "app:1")],
        by_digest: false,
        built: &images.on_base(&base, pulled, &client),
        progress: &|event| {
            if let PushEvent::Finished { blob, how, .. } = event {
                outcomes.lock().unwrap().push((blob.digest.clone(), how));
            }
        },
    };
    client.push(&push).unwrap();
    assert_eq!(to.blob("app", &Digest::of(b"base layer")).unwrap(), b"base layer");
    outcomes.into_inner().unwrap()
}

#[test]
fn mounts_the_base_of_the_same_registry() {
    let registry = Registry::start();
    let outcomes = push_on_base(&registry, &registry, false);
    assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Mounted)));
    assert_eq!(registry.count("GET", "/v2/base/blobs/"), 1, "the configuration alone");
}

/// A base that was pulled is still in its registry.
#[test]
fn mounts_a_base_that_was_pulled() {
    let registry = Registry::start();
    let outcomes = push_on_base(&registry, &registry, true);
    assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Mounted)));
    assert_eq!(registry.count("GET", "/v2/base/blobs/"), 1, "the configuration alone");
}

#[test]
fn sends_the_base_where_it_cannot_be_mounted() {
    // Another registry; a registry that begins an upload instead; registries that refuse.
    let (from, to) = (Registry::start(), Registry::start());
    let outcomes = push_on_base(&from, &to, false);
    assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Uploaded)));
    assert_eq!(to.count("POST", "mount="), 0);
    for status in [200, 201, 202, 307, 400, 401, 403, 404, 405, 429, 500, 503] {
        let registry = Registry::start();
        registry.rules(Rules { checks_blobs: true, ..Rules::default() });
        let refused = Response::new(status).with("www-authenticate", "Basic realm=x");
        registry.fail(Fault::new("POST", "mount=", 9, Action::Answer(refused)));
        let outcomes = push_on_base(&registry, &registry, false);
        // What 201 claims shows with the manifest.
        let how = if status == 201 { BlobOutcome::Mounted } else { BlobOutcome::Uploaded };
        assert!(outcomes.contains(&(Digest::of(b"base layer"), how)), "{status}");
        let tries = if status == 401 { 1..=2 } else { 1..=1 };
        assert!(tries.contains(&registry.count("POST", "mount=")), "{status}");
    }
}

fn stored_layers(images: &Images) -> Vec<LayerBlob> {
    let stored = |bytes: &Vec<u8>| {
        let descriptor = Descriptor::of(OCI_LAYER, bytes);
        LayerBlob::Stored { descriptor, base: None }
    };
    images.layers.iter().map(stored).collect()
}

#[test]
fn asks_for_no_layer_that_is_there() {
    let registry = Registry::start();
    let images = Images::new(&["linux/amd64"], &[]);
    for blob in &images.layers {
        registry.put_blob("app", blob);
    }
    let stored = |digest: &Digest| panic!("{digest} is there");
    let push = Push {
        targets: &[reference(&registry, "app:1")],
        by_digest: false,
        built: &Built::new(images.assembled.clone(), stored_layers(&images), stored, &Nowhere),
        progress: &|_| {},
    };
    client().push(&push).unwrap();
}

/// Row `no-head` of the threat table: HEAD saves work and no more.
#[test]
fn sends_blobs_where_head_is_not_answered() {
    for status in [400, 404, 405, 500, 501, 503] {
        let registry = Registry::start();
        let answer = Action::Answer(Response::new(status));
        registry.fail(Fault::new("HEAD", "/", usize::MAX, answer));
        let images = Images::new(&["linux/amd64"], &[b"layer"]);
        let pushed = push(&images, &client(), &[reference(&registry, "app:1")]);
        pushed.unwrap_or_else(|error| panic!("{status}: {error}"));
        for layer in &images.assembled.images[0].layers {
            assert!(registry.blob("app", &layer.digest).is_some(), "{status}");
        }
    }
}

#[test]
fn notices_a_source_that_is_too_short() {
    let registry = Registry::start();
    let images = Images::new(&["linux/amd64"], &[]);
    let stored = |_: &Digest| file(b"x").map(Some);
    let push = Push {
        targets: &[reference(&registry, "app:1")],
        by_digest: false,
        built: &Built::new(images.assembled.clone(), stored_layers(&images), stored, &Nowhere),
        progress: &|_| {},
    };
    let error = client().push(&push).unwrap_err();
    assert!(error.to_string().starts_with("cannot read layer sha256:"), "{error}");
    assert!(!error.is_retryable());
}
