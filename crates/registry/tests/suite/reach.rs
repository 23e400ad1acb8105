//! Servers that lead further into a network: redirects, realms and uploads.
//!
//! Servers behind a proxy count as outside, so a proxy on loopback plays all servers that are
//! outside, and a server that is reached directly is inside.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json;
use xbuild_model::manifest::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use xbuild_model::{Descriptor, Digest};
use xbuild_registry::{Client, ClientOptions, DownloadRequest, Proxies};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::images::Images;
use xbuild_testkit::wire::Response;

use crate::fixture::{chain, options, platform, push, read_layer};

/// Servers outside (`*.example`), and one that is inside.
struct World {
    outside: FileServer,
    inside: FileServer,
}

impl World {
    fn new() -> Self {
        Self { outside: FileServer::start(), inside: FileServer::start() }
    }

    fn client(&self) -> Client {
        let proxy = Some(self.outside.url(""));
        Client::new(ClientOptions {
            insecure: ["r.example".to_owned()].into(),
            proxies: Proxies {
                http: proxy.clone(),
                https: proxy,
                bypass: "inside.example,10.0.0.1".to_owned(),
            },
            addresses: [("inside.example".to_owned(), vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])]
                .into(),
            ..options()
        })
    }

    /// The URLs of a file that is inside.
    fn targets(&self, scheme: &str) -> Vec<String> {
        let url = self.inside.url("/secret").replace("http:", &format!("{scheme}:"));
        let hosts = ["inside.example", "INSIDE.example.", "localhost.", "127.0.0.1", "10.0.0.1"];
        hosts.iter().map(|host| url.replace("127.0.0.1", host)).collect()
    }

    #[track_caller]
    fn refused(&self, text: &str) {
        assert!(text.contains("that is not followed"), "{text}");
        assert!(self.inside.log().is_empty(), "{:?}", self.inside.log());
    }
}

fn download(client: &Client, url: &str) -> Result<Vec<u8>, String> {
    let request = DownloadRequest { url, authorization: None, known: None };
    let got = client.download(&request, || Ok(Vec::new())).map_err(|error| chain(&error))?;
    Ok(got.unwrap().file)
}

#[test]
fn downloads_do_not_lead_inside() {
    let world = World::new();
    let url = "http://files.example/f";
    let to = |target: &str| Response::new(302).with("location", target);
    for target in world.targets("http") {
        // At once, and by way of another server.
        world.outside.answer(url, [to(&target)]);
        world.refused(&download(&world.client(), url).unwrap_err());
        world.outside.answer("http://other.example/f", [to(&target)]);
        world.outside.answer(url, [to("http://other.example/f")]);
        world.refused(&download(&world.client(), url).unwrap_err());
    }
    // The user may ask for it, and what is inside may lead elsewhere inside and outside.
    let inside = world.inside.url("/to").replace("127.0.0.1", "inside.example");
    for target in ["/f", "http://files.example/f"] {
        world.inside.answer("/to", [to(target)]);
        world.inside.answer("/f", [Response::new(200).body("x")]);
        world.outside.answer(url, [Response::new(200).body("x")]);
        assert_eq!(download(&world.client(), &inside).unwrap(), b"x");
    }
    // But not over outside to inside again.
    let before = world.inside.log().len();
    world.inside.answer("/to", [to(url)]);
    world.outside.answer(url, [to(&world.inside.url("/f"))]);
    assert!(download(&world.client(), &inside).unwrap_err().contains("that is not followed"));
    assert_eq!(world.inside.log().len(), before + 1);
}

#[test]
fn blobs_do_not_lead_inside() {
    let world = World::new();
    let layer = b"layer";
    let config = json!({
        "os": "linux", "architecture": "amd64", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(layer)]},
    });
    let config = config.to_string();
    let config_descriptor = Descriptor::of(OCI_CONFIG, config.as_bytes());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config_descriptor,
        "layers": [Descriptor::of(OCI_LAYER, layer)],
    });
    let at = |path: &str| format!("http://r.example/v2/a/{path}");
    let manifest = Response::new(200).with("content-type", OCI_MANIFEST).body(manifest.to_string());
    world.outside.answer(&at("manifests/latest"), [manifest]);
    let config_at = at(&format!("blobs/{}", config_descriptor.digest));
    world.outside.answer(&config_at, [Response::new(200).body(config)]);
    for target in world.targets("http") {
        let to = Response::new(307).with("location", target);
        world.outside.answer(&at(&format!("blobs/{}", Digest::of(layer))), [to]);
        let client = world.client();
        let image =
            client.resolve(&"r.example/a".parse().unwrap(), &platform("linux/amd64")).unwrap();
        world.refused(&chain(&*read_layer(&client, &image, 0).unwrap_err()));
    }
}

#[test]
fn realms_do_not_lead_inside() {
    let world = World::new();
    for target in world.targets("https") {
        let challenge = format!(r#"Bearer realm="{target}",service="x""#);
        let asks = Response::new(401).with("www-authenticate", challenge);
        world.outside.answer("http://r.example/v2/a/manifests/latest", [asks]);
        let error = world
            .client()
            .resolve(&"r.example/a".parse().unwrap(), &platform("linux/amd64"))
            .unwrap_err();
        let text = chain(&error);
        assert!(text.contains("the authentication challenge of r.example points to"), "{text}");
        world.refused(&text);
    }
}

#[test]
fn uploads_do_not_lead_inside() {
    let world = World::new();
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    for target in world.targets("https") {
        let begun = Response::new(202).with("location", target);
        world.outside.answer("http://r.example/v2/app/blobs/uploads/", [begun]);
        let target = "r.example/app:1".parse().unwrap();
        world.refused(&chain(&push(&images, &world.client(), &[target]).unwrap_err()));
    }
}
