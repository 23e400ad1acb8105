//! Base images with foreign layers, which are fetched from the places that they name and pushed nowhere.

use serde_json::{Value, json};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::{Registry, Rules};
use xbuild_testkit::wire::Response;

use crate::harness::{Place, User, to_layout};
use crate::image::{self, digest};

const FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const WRITTEN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
const ORDINARY: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Puts a base image of one foreign layer into a registry, which has not the layer, but `server`.
fn base(registry: &Registry, server: &FileServer, os: &str, layer: &[u8]) -> Value {
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(layer), &mut tar).unwrap();
    let config = json!({
        "os": os, "architecture": "amd64", "config": {}, "history": [{ "created_by": "base" }],
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
    });
    let config = config.to_string();
    let config_digest = registry.put_blob("base", config.as_bytes());
    server.answer("/layer", [Response::new(200).body(layer)]);
    let foreign = json!({
        "mediaType": FOREIGN, "digest": digest(layer), "size": layer.len(),
        "urls": [server.url("/layer")],
    });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": config_digest, "size": config.len(),
        },
        "layers": [foreign],
    });
    let text = manifest.to_string();
    let kind = manifest["mediaType"].as_str().unwrap();
    registry.put_manifest("base", os, kind, text.as_bytes());
    foreign
}

/// A layer with the file `below`, compressed with gzip.
fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(5);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    tar.append_data(&mut header, "below", &b"below"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, &tar).unwrap();
    gzip.finish().unwrap()
}

fn pushed(registry: &Registry, tag: &str) -> Value {
    serde_json::from_slice(&registry.manifest("app", tag).unwrap().1).unwrap()
}

#[test]
fn foreign_layers_are_not_pushed() {
    let (registry, target, server) = (Registry::start(), Registry::start(), FileServer::start());
    let (place, layer) = (Place::new(User::Me), layer());
    let foreign = base(&registry, &server, "windows", &layer);
    place.dockerfile(&format!("FROM {}/base:windows\nLABEL a=b\n", registry.host()));
    let app = |tag: &str| format!("{}/app:{tag}", target.host());
    let args = ["--platform", "windows/amd64", "--push", "-t"];
    place.build(&[&args[..], &[&app("1")]].concat()).ok();
    let manifest = pushed(&target, "1");
    let mut expected = foreign.clone();
    expected["mediaType"] = json!(WRITTEN);
    assert_eq!(manifest["layers"], json!([expected]));
    // Only the configuration was sent, and nobody needed the bytes of the layer.
    assert_eq!(target.count("PUT", "/blobs/"), 1);
    assert_eq!(server.log().len(), 0);
    // So it is with Docker's types, and with copies, which change nothing.
    let docker = format!("type=image,push=true,oci-mediatypes=false,name={}", app("docker"));
    place.build(&["--platform", "windows/amd64", "-o", &docker]).ok();
    assert_eq!(pushed(&target, "docker")["layers"], json!([foreign]));
    let copy = format!("docker://{}/other/app:1", registry.host());
    place.run(["copy", &format!("docker://{}", app("1")), &copy]).ok();
    assert!(registry.blob("other/app", &digest(&layer).parse().unwrap()).is_none());
    assert_eq!(server.log().len(), 0);
    // Some registries take no such image; as ordinary layers they are pushed.
    target.rules(Rules { checks_blobs: true, ..Rules::default() });
    let refused = place.build(&[&args[..], &[&app("2")]].concat());
    refused.fails(4, &["wants the bytes of the foreign layer", "prefer-nondist-layers=false"]);
    let ordinary =
        format!("type=image,push=true,prefer-nondist-layers=false,name={}", app("ordinary"));
    place.build(&["--platform", "windows/amd64", "-o", &ordinary]).ok();
    let layers = json!([{ "mediaType": ORDINARY, "digest": digest(&layer), "size": layer.len() }]);
    assert_eq!(pushed(&target, "ordinary")["layers"], layers);
    assert_eq!(target.blob("app", &digest(&layer).parse().unwrap()), Some(layer));
    assert_eq!(server.log().len(), 1);
}

#[test]
fn foreign_layers_are_fetched_where_their_bytes_are_needed() {
    let (registry, target, server) = (Registry::start(), Registry::start(), FileServer::start());
    let (place, layer) = (Place::new(User::Me), layer());
    base(&registry, &server, "linux", &layer);
    let from = format!("FROM {}/base:linux", registry.host());
    place.dockerfile(&format!("{from} AS base\nFROM base\nCOPY --from=base below /again\n"));
    let layout = place.out("layout");
    let name = format!("{}/app:2", target.host());
    place.build(&["--push", "-t", &name, "-o", &to_layout(&layout)]).ok();
    assert_eq!(server.log().len(), 1);
    // A layout has the bytes, whatever its manifest says; the registry has not.
    let image = &image::read(&layout)[0];
    assert_eq!([image.text("below"), image.text("again")], ["below", "below"]);
    assert_eq!(image.manifest["layers"][0]["mediaType"], WRITTEN);
    assert_eq!(pushed(&target, "2"), image.manifest);
    assert!(target.blob("app", &digest(&layer).parse().unwrap()).is_none());
    // In the store, which has the bytes now, the layer is foreign as before.
    let (again, kept) = (format!("{}/app:3", target.host()), format!("{}/kept:1", target.host()));
    place.build(&["--push", "-t", &again]).ok();
    assert_eq!(pushed(&target, "3"), image.manifest);
    place.build(&["-t", &kept]).ok();
    place.run(["push", &kept]).ok();
    assert!(target.blob("kept", &digest(&layer).parse().unwrap()).is_none());
    place.build(&["-o", "type=docker,prefer-nondist-layers=maybe"]).fails(2, &["prefer-nondist"]);
    place
        .build(&["-o", "type=local,prefer-nondist-layers=true,dest=x"])
        .fails(2, &["is for type="]);
}
