//! Indexes with entries of all kinds: those that cannot be used do not spoil the others.

use serde_json::{Value, json};
use xbuild_model::manifest::{OCI_INDEX, OCI_MANIFEST};
use xbuild_model::{Descriptor, Digest};
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, client, platform, put_image, put_index, reference};

/// Puts an index with these entries into the registry.
fn put(registry: &Registry, tag: &str, entries: &[Value]) {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    registry.put_manifest("base", tag, OCI_INDEX, index.to_string().as_bytes());
}

/// Entries that are of no use.
fn useless(registry: &Registry) -> Vec<Value> {
    let ghost = Digest::of(b"ghost");
    let artifact = br#"{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[]}"#;
    let kind = "application/vnd.oci.artifact.manifest.v1+json";
    let digest = registry.put_manifest("base", "artifact", kind, artifact);
    let chart = br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.cncf.helm.config",
        "digest":"sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb",
        "size":1},"layers":[]}"#;
    let chart_digest = registry.put_manifest("base", "chart", OCI_MANIFEST, chart);
    let amd64 = json!({"os": "linux", "architecture": "amd64"});
    vec![
        json!(null),
        json!({"mediaType": OCI_MANIFEST, "digest": ghost, "size": 7}),
        json!({"mediaType": OCI_INDEX, "digest": ghost, "size": 7}),
        json!({"mediaType": kind, "digest": digest, "size": artifact.len()}),
        json!({"mediaType": kind, "digest": digest, "size": artifact.len(), "platform": amd64}),
        json!({"mediaType": OCI_MANIFEST, "digest": chart_digest, "size": chart.len()}),
        json!({"mediaType": OCI_MANIFEST, "digest": chart_digest, "size": chart.len(),
            "platform": amd64}),
        json!({"mediaType": OCI_MANIFEST, "digest": ghost, "size": 7, "platform": {"os": "linux"}}),
        json!({"mediaType": OCI_MANIFEST, "digest": format!("sha512:{}", "a".repeat(128)),
            "size": 7, "platform": amd64}),
    ]
}

#[test]
fn the_first_of_two_images_for_a_platform_counts() {
    let registry = Registry::start();
    let image = |tag: &str| put_image(&registry, "base", tag, "linux/amd64", &[tag.as_bytes()]);
    let (first, second) = (image("first"), image("second"));
    for (entries, expected) in
        [([&first, &second], &first), ([&second, &first], &second), ([&first, &first], &first)]
    {
        put_index(&registry, "base", "latest", &entries.map(Clone::clone));
        let found = client().resolve(&reference(&registry, "base"), &platform("linux/amd64"));
        assert_eq!(found.unwrap().manifest.digest, expected.digest);
    }
}

#[test]
fn useless_entries_are_passed_over() {
    let registry = Registry::start();
    let good = put_image(&registry, "base", "good", "linux/amd64", &[b"x"]);
    let unnamed = Descriptor { platform: None, ..good.clone() };
    for useless in useless(&registry).into_iter().chain([json!(useless(&registry))]) {
        let useless = match useless {
            Value::Array(all) => all,
            one => vec![one],
        };
        for good in [&good, &unnamed] {
            let mut entries = useless.clone();
            entries.push(json!(good));
            put(&registry, "latest", &entries);
            let image = client().resolve(&reference(&registry, "base"), &platform("linux/amd64"));
            let image = image.unwrap_or_else(|error| panic!("{entries:?}: {}", chain(&error)));
            assert_eq!(image.manifest.digest, good.digest);
        }
    }
}

#[test]
fn entries_that_a_registry_keeps_back_are_passed_over() {
    for (status, is_passed) in [(400, true), (410, true), (403, false), (500, false)] {
        let registry = Registry::start();
        let good = put_image(&registry, "base", "good", "linux/amd64", &[b"x"]);
        let unnamed = Descriptor { platform: None, ..good };
        let ghost = Digest::of(b"ghost");
        let entry = json!({"mediaType": OCI_MANIFEST, "digest": ghost, "size": 7});
        put(&registry, "latest", &[entry, json!(unnamed)]);
        let no = Action::Answer(Response::new(status));
        registry.fail(Fault::new("GET", &format!("/manifests/{ghost}"), usize::MAX, no));
        let image = client().resolve(&reference(&registry, "base"), &platform("linux/amd64"));
        assert_eq!(image.is_ok(), is_passed, "{status}");
    }
}

#[test]
fn an_index_without_anything_of_use_says_so() {
    let registry = Registry::start();
    let arm = put_image(&registry, "base", "arm", "linux/arm64", &[b"x"]);
    let mut entries = useless(&registry);
    entries.retain(|entry| entry["platform"].is_null());
    entries.push(json!(arm));
    put(&registry, "latest", &entries);
    let resolve = || {
        let image = client().resolve(&reference(&registry, "base"), &platform("linux/amd64"));
        chain(&image.unwrap_err())
    };
    assert!(resolve().contains("no match for platform linux/amd64"), "{}", resolve());
    // The only image for the platform is not there.
    let gone = json!({"mediaType": OCI_MANIFEST, "digest": Digest::of(b"ghost"), "size": 7,
        "platform": {"os": "linux", "architecture": "amd64"}});
    put(&registry, "latest", &[gone, json!(arm)]);
    let missing = format!("the manifest {} of", Digest::of(b"ghost"));
    assert!(resolve().starts_with(&missing), "{}", resolve());
    // What a server refuses for now is no reason to take another entry.
    let unnamed = put_image(&registry, "base", "amd", "linux/amd64", &[b"y"]);
    put(&registry, "latest", &[json!(Descriptor { platform: None, ..unnamed.clone() })]);
    let busy = Action::Answer(Response::new(503));
    registry.fail(Fault::new("GET", &unnamed.digest.to_string(), usize::MAX, busy));
    assert!(resolve().contains("503"), "{}", resolve());
}

#[test]
fn an_index_is_shown_without_what_cannot_be_read() {
    let registry = Registry::start();
    let good = put_image(&registry, "base", "good", "linux/amd64", &[b"x"]);
    let mut entries = useless(&registry);
    entries.push(json!(good));
    put(&registry, "latest", &entries);
    let shown = client().inspect(&reference(&registry, "base")).unwrap();
    assert!(shown.images.iter().any(|image| image.descriptor.digest == good.digest));
    assert!(shown.unread.iter().any(|entry| entry.digest == Digest::of(b"ghost")));
}

/// The platform of the index counts; whoever builds is told.
#[test]
fn a_configuration_may_name_another_platform() {
    let registry = Registry::start();
    let mut other = put_image(&registry, "base", "other", "linux/amd64", &[b"x"]);
    other.platform = Some(platform("linux/arm64").to_descriptor());
    put_index(&registry, "base", "latest", &[other]);
    let image = client().resolve(&reference(&registry, "base"), &platform("linux/arm64")).unwrap();
    assert_eq!(image.platform, platform("linux/arm64"));
    assert_eq!(image.config.platform(), platform("linux/amd64"));
}
