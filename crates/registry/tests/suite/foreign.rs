//! Foreign layers, which their descriptor says where to fetch.

use serde_json::{Value, json};
use xbuild_model::Digest;
use xbuild_model::manifest::{DOCKER_FOREIGN_GZIP, OCI_FOREIGN, OCI_MANIFEST};
use xbuild_model::seam::Blobs as _;
use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::{Login, Registry};
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, client, client_of, platform, put_image, read_layer, reference};

/// A registry with an image of one foreign layer, which it does not have.
fn foreign_base(media_type: &str, layer: &[u8], urls: &[String]) -> Registry {
    let registry = Registry::start();
    put_image(&registry, "base", "plain", "linux/amd64", &[layer]);
    let (_, bytes) = registry.manifest("base", "plain").unwrap();
    let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
    manifest["layers"][0]["mediaType"] = json!(media_type);
    manifest["layers"][0]["urls"] = json!(urls);
    registry.put_manifest("base", "latest", OCI_MANIFEST, manifest.to_string().as_bytes());
    registry.lose_blob("base", &Digest::of(layer));
    registry
}

/// Reads the layer, with a login for the registry.
fn read(registry: &Registry) -> Result<Vec<u8>, String> {
    let client = client_of(registry);
    let image = client.resolve(&reference(registry, "base"), &platform("linux/amd64"));
    read_layer(&client, &image.map_err(|error| chain(&error))?, 0).map_err(|error| chain(&*error))
}

/// security.md 101: no place gets a login, whatever it asks for.
#[test]
fn come_from_their_places_without_a_login() {
    let server = FileServer::start();
    server.answer("/second", [Response::new(200).body("layer")]);
    let asks = "Basic realm=\"foreign\"";
    server.answer("/first", [Response::new(401).with("www-authenticate", asks)]);
    let urls = ["/first", "/second"].map(|path| server.url(path));
    for media_type in [OCI_FOREIGN, DOCKER_FOREIGN_GZIP] {
        let registry = foreign_base(media_type, b"layer", &urls);
        registry.require(Login::Basic("user".to_owned(), "pass".to_owned()));
        assert_eq!(read(&registry).unwrap(), b"layer");
        assert_eq!(registry.count("GET", "/blobs/"), 2, "the registry is asked first");
    }
    let log = server.log();
    let paths: Vec<&str> = log.iter().map(|request| request.path()).collect();
    assert_eq!(paths, ["/first", "/second", "/first", "/second"]);
    assert!(log.iter().all(|request| request.header("authorization").is_none()), "{log:?}");
    // A registry that has it is enough.
    let registry = foreign_base(OCI_FOREIGN, b"layer", &urls);
    registry.put_blob("base", b"layer");
    assert_eq!(read(&registry).unwrap(), b"layer");
    assert_eq!(server.log().len(), 4);
}

#[test]
fn a_download_that_breaks_goes_on() {
    let layer: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let rest = Response::new(206).with("content-range", "bytes 40000-99999/100000");
    for rest in [rest.body(&layer[40_000..]), Response::new(200).body(&layer[..])] {
        let server = FileServer::start();
        let cut = Response::new(200).body(&layer[..]).cut(40_000);
        server.answer("/x", [cut, Response::new(503), rest]);
        let registry = foreign_base(OCI_FOREIGN, &layer, &[server.url("/x")]);
        assert_eq!(read(&registry).unwrap(), layer);
        assert!(server.log()[2].header("range").is_some_and(|range| range.starts_with("bytes=")));
    }
    // From an offset on.
    let server = FileServer::start();
    server.answer("/x", [Response::new(200).body(&layer[..])]);
    let registry = foreign_base(OCI_FOREIGN, &layer, &[server.url("/x")]);
    let client = client();
    let image = client.resolve(&reference(&registry, "base"), &platform("linux/amd64")).unwrap();
    let (descriptor, source) = (&image.layers[0].descriptor, &image.layers[0].source);
    let mut bytes = Vec::new();
    client.open(descriptor, source, 99_990).unwrap().read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, layer[99_990..]);
}

/// security.md 105: no registry leads to an address of the cloud's, nor out of `http` and `https`.
#[test]
fn places_that_a_registry_may_not_name_are_not_asked() {
    for (url, said) in [
        ("http://169.254.169.254/latest", "169.254.169.254"),
        ("http://user:pass@127.0.0.1:1/x", "user information"),
    ] {
        let registry = foreign_base(OCI_FOREIGN, b"layer", &[url.to_owned()]);
        let error = read(&registry).unwrap_err();
        assert!(error.contains(said) && error.contains("foreign layer sha256:"), "{error}");
        assert!(!error.contains("user:pass"), "{error}");
    }
    // Without a place it is a layer as any other, which is missing.
    let registry = foreign_base(OCI_FOREIGN, b"layer", &["file:///etc/passwd".to_owned()]);
    let error = read(&registry).unwrap_err();
    assert!(error.contains("404") && !error.contains("foreign"), "{error}");
}

#[test]
fn another_size_is_an_error() {
    for body in ["laye", "layers"] {
        let server = FileServer::start();
        server.answer("/x", [Response::new(200).body(body)]);
        let registry = foreign_base(OCI_FOREIGN, b"layer", &[server.url("/x")]);
        let error = read(&registry).unwrap_err();
        assert!(error.contains("is not 5 bytes long"), "{error}");
    }
    let missing = foreign_base(OCI_FOREIGN, b"layer", &["http://127.0.0.1:1/x".to_owned()]);
    let error = read(&missing).unwrap_err();
    assert!(error.contains("foreign layer") && error.contains("http://127.0.0.1:1/x"), "{error}");
}
