//! Pushing images.

use std::sync::Mutex;

use xbuild_image::PushSource;
use xbuild_model::manifest::{OCI_INDEX, OCI_LAYER};
use xbuild_model::{Descriptor, Digest, Platform};
use xbuild_registry::{BlobOutcome, Push, PushEvent};
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{Built, build, client, platform, put_image, reference};

const PLATFORMS: &[&str] = &["linux/arm64", "linux/amd64"];

#[test]
fn pushes_blobs_then_manifests_then_tags() {
    let registry = Registry::start();
    let built = build(PLATFORMS, &[b"shared", b""]);
    let targets = ["app:1", "app:latest", "other:1"].map(|name| reference(&registry, name));
    let client = client();
    built.push(&client, &targets).unwrap();
    for target in &targets {
        let (media_type, bytes) =
            registry.manifest(target.repository(), target.tag().unwrap()).unwrap();
        assert_eq!((media_type.as_str(), &bytes[..]), (OCI_INDEX, built.assembled.root().1));
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
    // What is there already is not sent again, and what a sibling has is mounted.
    assert_eq!(registry.count("PUT", "/v2/other/blobs/"), 0);
    let puts = registry.count("PUT", "/blobs/");
    built.push(&client, &targets).unwrap();
    assert_eq!(registry.count("PUT", "/blobs/"), puts);
}

#[test]
fn one_platform_is_one_manifest_and_by_digest_has_no_tag() {
    let registry = Registry::start();
    let built = build(&["linux/amd64"], &[]);
    let push = Push {
        targets: &[reference(&registry, "app")],
        by_digest: true,
        assembled: &built.assembled,
        layers: &|wanted| built.local(wanted),
        progress: &|_| {},
    };
    client().push(&push).unwrap();
    let digest = &built.assembled.root().0.digest;
    assert!(registry.manifest("app", &digest.to_string()).is_some());
    assert!(registry.manifest("app", "latest").is_none());
}

/// An image on top of a base that is in a registry.
fn on_base(
    registry: &Registry,
    layer: &'static [u8],
) -> (Built, impl Fn(&Descriptor) -> PushSource) {
    put_image(registry, "base", "latest", "linux/amd64", &[layer]);
    let base = client().resolve(&reference(registry, "base"), &platform("linux/amd64")).unwrap();
    let built = build(&["linux/amd64"], &[layer]);
    let own = built.blobs[1].clone();
    let source = move |wanted: &Descriptor| match base
        .layers
        .iter()
        .find(|l| l.descriptor.digest == wanted.digest)
    {
        Some(layer) => PushSource::Remote(layer.clone()),
        None => PushSource::Local(crate::fixture::file(&own)),
    };
    (built, source)
}

fn push_on_base(from: &Registry, to: &Registry) -> Vec<(Digest, BlobOutcome)> {
    let (built, source) = on_base(from, b"base layer");
    let outcomes = Mutex::new(Vec::new());
    let push = Push {
        targets: &[reference(to, "app:1")],
        by_digest: false,
        assembled: &built.assembled,
        layers: &|wanted| Ok(source(wanted)),
        progress: &|event| {
            if let PushEvent::Finished { blob, how, .. } = event {
                outcomes.lock().unwrap().push((blob.digest.clone(), how));
            }
        },
    };
    client().push(&push).unwrap();
    assert_eq!(to.blob("app", &Digest::of(b"base layer")).unwrap(), b"base layer");
    outcomes.into_inner().unwrap()
}

#[test]
fn mounts_the_base_of_the_same_registry() {
    let registry = Registry::start();
    let outcomes = push_on_base(&registry, &registry);
    assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Mounted)));
    assert_eq!(registry.count("GET", "/v2/base/blobs/"), 1, "the configuration alone");
}

/// Pulled or not, the base is in the registry.
#[test]
fn mounts_a_base_that_was_pulled() {
    let registry = Registry::start();
    let (built, source) = on_base(&registry, b"base layer");
    let (mounted, sent) = (Mutex::new(0), Mutex::new(0));
    let push = Push {
        targets: &[reference(&registry, "app:1")],
        by_digest: false,
        assembled: &built.assembled,
        layers: &|wanted| {
            Ok(match source(wanted) {
                PushSource::Remote(layer) => {
                    PushSource::Pulled(crate::fixture::file(b"base layer"), layer)
                }
                other => other,
            })
        },
        progress: &|event| match event {
            PushEvent::Finished { how: BlobOutcome::Mounted, .. } => *mounted.lock().unwrap() += 1,
            PushEvent::Finished { blob, how: BlobOutcome::Uploaded, .. }
                if blob.digest == Digest::of(b"base layer") =>
            {
                *sent.lock().unwrap() += 1;
            }
            _ => {}
        },
    };
    client().push(&push).unwrap();
    assert_eq!((mounted.into_inner().unwrap(), sent.into_inner().unwrap()), (1, 0));
}

#[test]
fn sends_the_base_where_it_cannot_be_mounted() {
    // Another registry; one that begins an upload instead; one that refuses.
    let (from, to) = (Registry::start(), Registry::start());
    let outcomes = push_on_base(&from, &to);
    assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Uploaded)));
    assert_eq!(to.count("POST", "mount="), 0);
    for status in [401, 403, 405] {
        let registry = Registry::start();
        let refused =
            Action::Answer(Response::new(status).with("www-authenticate", "Basic realm=x"));
        registry.fail(Fault::new("POST", "mount=", 9, refused));
        let outcomes = push_on_base(&registry, &registry);
        assert!(outcomes.contains(&(Digest::of(b"base layer"), BlobOutcome::Uploaded)));
    }
}

#[test]
fn asks_for_no_layer_that_is_there() {
    let registry = Registry::start();
    let built = build(&["linux/amd64"], &[]);
    for blob in &built.blobs {
        registry.put_blob("app", blob);
    }
    let push = Push {
        targets: &[reference(&registry, "app:1")],
        by_digest: false,
        assembled: &built.assembled,
        layers: &|wanted| panic!("{} is there", wanted.digest),
        progress: &|_| {},
    };
    client().push(&push).unwrap();
}

#[test]
fn notices_a_source_that_is_too_short() {
    let registry = Registry::start();
    let built = build(&["linux/amd64"], &[]);
    let push = Push {
        targets: &[reference(&registry, "app:1")],
        by_digest: false,
        assembled: &built.assembled,
        layers: &|_| Ok(PushSource::Local(crate::fixture::file(b"x"))),
        progress: &|_| {},
    };
    let error = client().push(&push).unwrap_err();
    assert!(error.to_string().starts_with("cannot read layer sha256:"), "{error}");
    assert!(!error.is_retryable());
}

#[test]
fn layers_are_those_of_the_images() {
    let built = build(&["linux/amd64", "linux/arm64"], &[b"shared"]);
    let expected = [&b"shared"[..], b"layer of linux/amd64", b"layer of linux/arm64"];
    let expected: Vec<_> = expected.map(|bytes| Descriptor::of(OCI_LAYER, bytes)).into();
    assert_eq!(built.assembled.layers(), expected.iter().collect::<Vec<_>>());
    let _: Vec<&Platform> = built.assembled.images.iter().map(|image| &image.platform).collect();
}
