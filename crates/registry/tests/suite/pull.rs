//! Resolving and reading images.

use std::sync::Mutex;

use serde_json::json;
use xbuild_image::ResolveError;
use xbuild_model::manifest::{
    DOCKER_CONFIG, DOCKER_INDEX, DOCKER_LAYER, DOCKER_MANIFEST, OCI_INDEX,
};
use xbuild_model::{Descriptor, Digest};
use xbuild_registry::{DocumentCache, PullError};
use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, client, platform, put_image, put_index, read_layer, reference};

fn index_of(registry: &Registry, platforms: &[&str]) -> Vec<Descriptor> {
    let image = |name: &&str| put_image(registry, "base", name, name, &[name.as_bytes()]);
    let manifests: Vec<_> = platforms.iter().map(image).collect();
    put_index(registry, "base", "latest", &manifests);
    manifests
}

#[test]
fn picks_the_best_image_of_an_index() {
    let registry = Registry::start();
    index_of(
        &registry,
        &["linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"],
    );
    let reference = reference(&registry, "base");
    let client = client();
    for (asked, expected) in [
        ("linux/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
        ("linux/arm64", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64"),
        ("linux/arm/v8", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
    ] {
        let image = client.resolve(&reference, &platform(asked)).unwrap();
        assert_eq!(image.platform, platform(expected), "{asked}");
        assert_eq!(image.config.platform(), platform(expected), "{asked}");
        assert_eq!(read_layer(&client, &image, 0).unwrap(), expected.as_bytes(), "{asked}");
    }
    // Together they read the tag once, so they cannot see two images.
    assert_eq!(registry.count("GET", "/manifests/latest"), 1);
    let error = client.resolve(&reference, &platform("linux/mips64le")).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("no match for platform linux/mips64le in 127.0.0.1:"), "{text}");
    assert!(text.contains("linux/386, linux/amd64, linux/arm/v6"), "{text}");
    let error = client.resolve(&reference, &platform("linux/arm/v5")).unwrap_err();
    let PullError::Image { source } = error else { panic!("{error}") };
    assert!(matches!(source, ResolveError::NoPlatform { .. }), "{source}");
}

#[test]
fn takes_an_image_without_index_whatever_its_platform() {
    let registry = Registry::start();
    put_image(&registry, "base", "latest", "linux/s390x", &[]);
    let image = client().resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    assert_eq!(image.platform, platform("linux/s390x"));
}

#[test]
fn names_an_image_that_is_not_there() {
    let registry = Registry::start();
    let error =
        client().resolve(&reference(&registry, "no/such-image:v9"), &platform("linux/amd64"));
    let text = error.unwrap_err().to_string();
    assert_eq!(text, format!("{}/no/such-image:v9: not found", registry.host()));
}

/// The tag is there: what is missing is named instead.
#[test]
fn names_a_part_that_is_not_there() {
    for (what, part) in [("manifest", "/manifests/sha256:"), ("configuration", "/blobs/")] {
        let registry = Registry::start();
        let manifests = index_of(&registry, &["linux/amd64"]);
        let answer = Action::Answer(Response::new(404));
        registry.fail(Fault::new("GET", part, usize::MAX, answer));
        let base = reference(&registry, "base");
        let error = client().resolve(&base, &platform("linux/amd64")).unwrap_err();
        let text = chain(&error);
        assert!(matches!(error, PullError::MissingPart { .. }), "{text}");
        assert!(error.is_of_document());
        let name = format!("of {}/base:latest is not in the registry", registry.host());
        assert!(text.starts_with(&format!("the {what} sha256:")) && text.contains(&name), "{text}");
        let is_manifest = text.contains(&manifests[0].digest.to_string());
        assert_eq!(is_manifest, what == "manifest", "{text}");
        // The image itself is what the user asks for by its digest.
        let name = format!("base@{}", manifests[0].digest);
        let found = client().resolve(&reference(&registry, &name), &platform("linux/amd64"));
        let is_root = matches!(found.unwrap_err(), PullError::NotFound { .. });
        assert_eq!(is_root, what == "manifest");
    }
}

#[test]
fn reads_nested_indexes_and_skips_attestations() {
    let registry = Registry::start();
    let arm = put_image(&registry, "base", "a", "linux/arm64", &[]);
    let mut unnamed = put_image(&registry, "base", "b", "linux/riscv64", &[]);
    unnamed.platform = None;
    let inner = put_index(&registry, "base", "inner", &[arm, unnamed]);
    let mut attestation = put_image(&registry, "base", "c", "linux/amd64", &[]);
    attestation.platform.as_mut().unwrap().os = "unknown".to_owned();
    attestation.platform.as_mut().unwrap().architecture = "unknown".to_owned();
    put_index(&registry, "base", "latest", &[attestation, inner.clone()]);
    let (client, base) = (client(), reference(&registry, "base"));
    assert!(client.resolve(&base, &platform("linux/arm64")).is_ok());
    assert!(client.resolve(&base, &platform("linux/riscv64")).is_ok());
    assert!(client.resolve(&base, &platform("linux/amd64")).is_err());

    let middle = put_index(&registry, "base", "middle", &[inner]);
    put_index(&registry, "base", "deep", &[middle]);
    let error = client.resolve(&reference(&registry, "base:deep"), &platform("linux/arm64"));
    assert!(chain(&error.unwrap_err()).contains("nested"), "depth is bounded");
}

#[test]
fn reads_docker_types() {
    let registry = Registry::start();
    let layer = registry.put_blob("base", b"layer");
    let config = json!({"os": "linux", "architecture": "amd64", "config": null,
        "rootfs": {"type": "layers", "diff_ids": [layer]}})
    .to_string();
    registry.put_blob("base", config.as_bytes());
    let manifest = json!({"schemaVersion": 2, "mediaType": DOCKER_MANIFEST,
        "config": Descriptor::of(DOCKER_CONFIG, config.as_bytes()),
        "layers": [Descriptor::of(DOCKER_LAYER, b"layer")]})
    .to_string();
    registry.put_manifest("base", "one", DOCKER_MANIFEST, manifest.as_bytes());
    let entry = json!({"mediaType": DOCKER_MANIFEST, "digest": Digest::of(manifest.as_bytes()),
        "size": manifest.len(), "platform": {"os": "linux", "architecture": "amd64"}});
    let index =
        json!({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": [entry]}).to_string();
    registry.put_manifest("base", "many", DOCKER_INDEX, index.as_bytes());
    for tag in ["one", "many"] {
        let reference = reference(&registry, &format!("base:{tag}"));
        let image = client().resolve(&reference, &platform("linux/amd64")).unwrap();
        assert_eq!(image.manifest.media_type, DOCKER_MANIFEST);
        assert_eq!(image.layers[0].descriptor.media_type, DOCKER_LAYER);
    }
}

/// security.md 111 to 114: documents of another kind than claimed.
#[test]
fn refuses_documents_that_lie() {
    let registry = Registry::start();
    let good = put_image(&registry, "base", "good", "linux/amd64", &[b"x"]);
    let (_, bytes) = registry.manifest("base", "good").unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let platform = platform("linux/amd64");
    let check = |tag: &str, expected: &str| {
        let error = client().resolve(&reference(&registry, &format!("base:{tag}")), &platform);
        let error = chain(&error.unwrap_err());
        assert!(error.contains(expected), "{tag}: {error}");
    };
    // An index by the header, a manifest by its members.
    registry.put_manifest("base", "header", OCI_INDEX, text.as_bytes());
    check("header", "application/vnd.oci.image.index.v1+json");
    // Both at once.
    let both = text.replacen('{', r#"{"manifests":[],"#, 1);
    registry.put_manifest("base", "both", "application/json", both.as_bytes());
    check("both", "a manifest as well");
    // Sizes.
    for (tag, size) in [("small", good.size - 1), ("big", good.size + 1), ("huge", u64::MAX)] {
        let entry = Descriptor { size, ..good.clone() };
        put_index(&registry, "base", tag, &[entry]);
        check(tag, "bytes");
    }
    // Another manifest under the requested digest.
    let pinned = Digest::of(b"something else");
    registry.put_manifest("base", &pinned.to_string(), &good.media_type, text.as_bytes());
    let reference = reference(&registry, &format!("base@{pinned}"));
    let error = client().resolve(&reference, &platform).unwrap_err();
    assert!(chain(&error).contains("the digest is"), "{}", chain(&error));
    // A configuration whose bytes have another digest.
    let config = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let digest = config["config"]["digest"].as_str().unwrap().to_owned();
    let forged = text.replace(&digest, &registry.put_blob("base", b"forged").to_string());
    registry.put_manifest("base", "forged", &good.media_type, forged.as_bytes());
    check("forged", "bytes");
}

/// security.md 101 and 105: URLs in the descriptor of a layer are not used.
#[test]
fn ignores_urls_of_foreign_layers() {
    let (registry, evil) = (Registry::start(), Registry::start());
    put_image(&registry, "base", "plain", "linux/amd64", &[b"layer"]);
    let (media_type, bytes) = registry.manifest("base", "plain").unwrap();
    let urls = format!(r#""urls":["http://{}/x"],"size":5"#, evil.host());
    let text = String::from_utf8(bytes).unwrap().replace(r#""size":5"#, &urls);
    registry.put_manifest("base", "latest", &media_type, text.as_bytes());
    let client = client();
    let image = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    assert_eq!(read_layer(&client, &image, 0).unwrap(), b"layer");
    assert!(evil.log().is_empty());
}

#[test]
fn inspects_everything() {
    let registry = Registry::start();
    let manifests = index_of(&registry, &["linux/amd64", "linux/arm64"]);
    let inspection = client().inspect(&reference(&registry, "base")).unwrap();
    assert_eq!(inspection.index.unwrap().manifests, manifests);
    assert_eq!(Digest::of(&inspection.bytes), inspection.root.digest);
    let platforms: Vec<_> = inspection
        .images
        .iter()
        .map(|i| i.config.as_ref().unwrap().platform().to_string())
        .collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm64"]);
}

#[derive(Debug, Default)]
struct Memory(Mutex<std::collections::HashMap<Digest, Vec<u8>>>);

impl DocumentCache for Memory {
    fn get(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(digest).cloned()
    }

    fn put(&self, digest: &Digest, bytes: &[u8]) {
        self.0.lock().unwrap().insert(digest.clone(), bytes.to_vec());
    }
}

#[test]
fn asks_a_cache_first_and_does_not_trust_it() {
    let registry = Registry::start();
    index_of(&registry, &["linux/amd64"]);
    let cache = std::sync::Arc::new(Memory::default());
    let resolve = |rest: &str| {
        let client = client().with_cache(cache.clone());
        client.resolve(&reference(&registry, rest), &platform("linux/amd64")).unwrap()
    };
    let first = resolve("base");
    let requests = registry.log().len();
    assert_eq!(resolve("base"), first);
    assert_eq!(registry.log().len(), requests + 1, "only the tag is asked for");
    let root = registry.manifest("base", "latest").unwrap().1;
    let pinned = resolve(&format!("base@{}", Digest::of(&root)));
    assert_eq!(pinned.manifest, first.manifest);
    assert_eq!(registry.log().len(), requests + 1, "nothing is asked for");
    for bytes in cache.0.lock().unwrap().values_mut() {
        bytes[0] ^= 1;
    }
    assert_eq!(resolve("base"), first);
}

#[test]
fn finds_this_machine_by_name() {
    let registry = Registry::start();
    put_image(&registry, "base", "latest", "linux/amd64", &[]);
    let port = registry.host().rsplit_once(':').unwrap().1.to_owned();
    let reference = format!("localhost:{port}/base").parse().unwrap();
    client().resolve(&reference, &platform("linux/amd64")).unwrap();
}

/// Row `moved-tag` of the threat table.
#[test]
fn all_platforms_are_of_one_index_while_the_tag_moves() {
    let registry = Registry::start();
    let names = ["linux/amd64", "linux/arm64"];
    let before = index_of(&registry, &names);
    let (client, base) = (client(), reference(&registry, "base"));
    let first = client.resolve(&base, &platform(names[0])).unwrap();
    let image = |name: &&str| put_image(&registry, "base", name, name, &[b"moved"]);
    let after: Vec<_> = names.iter().map(image).collect();
    put_index(&registry, "base", "latest", &after);
    let second = client.resolve(&base, &platform(names[1])).unwrap();
    assert_eq!(
        (&first.manifest.digest, &second.manifest.digest),
        (&before[0].digest, &before[1].digest)
    );
    assert_eq!(read_layer(&client, &second, 0).unwrap(), names[1].as_bytes());
    // The next build sees the new one, whole.
    let client = self::client();
    for (name, expected) in names.iter().zip(&after) {
        let image = client.resolve(&base, &platform(name)).unwrap();
        assert_eq!(image.manifest.digest, expected.digest);
    }
}

/// Row `proxy` of the threat table.
#[test]
fn a_proxy_is_asked_and_told_no_more_than_it_needs() {
    use xbuild_registry::{Client, ClientOptions, Credential, Credentials, Proxies, Secret};
    let (proxy, direct) = (xbuild_testkit::files::FileServer::start(), Registry::start());
    put_image(&direct, "base", "latest", "linux/amd64", &[]);
    let login = Credential::Basic { user: "user".to_owned(), password: Secret::new("pass") };
    let options = ClientOptions {
        insecure: ["r.example".to_owned()].into(),
        credentials: Credentials::default().with("r.example", login),
        proxies: Proxies {
            http: Some(proxy.url("").replace("//", "//me:PROXYSECRET@")),
            https: None,
            bypass: "direct.example".to_owned(),
        },
        ..crate::fixture::options()
    };
    assert!(!format!("{options:?}").contains("PROXYSECRET"));
    let client = Client::new(options);
    let asked = "r.example/a".parse().unwrap();
    let text = chain(&client.resolve(&asked, &platform("linux/amd64")).unwrap_err());
    assert!(text.contains("r.example/a") && !text.contains("PROXYSECRET"), "{text}");
    let log = proxy.log();
    assert_eq!(log[0].target, "http://r.example/v2/a/manifests/latest");
    assert_eq!(log[0].header("proxy-authorization"), Some("Basic bWU6UFJPWFlTRUNSRVQ="));
    assert!(log.iter().all(|request| request.header("authorization").is_none()), "{log:?}");
    // This machine is not asked by way of it.
    client.resolve(&reference(&direct, "base"), &platform("linux/amd64")).unwrap();
    assert_eq!(proxy.log().len(), log.len());
    assert!(direct.log().iter().all(|request| request.header("proxy-authorization").is_none()));
}
