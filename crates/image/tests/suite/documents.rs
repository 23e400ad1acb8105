//! The bytes of documents: digests depend on each of them, and others must read them as we do.

use std::collections::BTreeMap;

use oci_spec::image::{
    Arch, ImageConfiguration, ImageIndex, ImageManifest, MediaType, OciLayout, Os,
};
use serde_json::json;
use xbuild_image::document::Document;
use xbuild_image::{AssembleOptions, Assembled, ImageParts, NamedContent, assemble};
use xbuild_model::manifest::{DOCKER_LAYER_GZIP, OCI_LAYER_ZSTD};
use xbuild_model::{Descriptor, DiffId, Digest, ImageConfig, Platform};
use xbuild_testkit::images::Images;

/// A configuration with all members that we know, and some that we do not, as Go writes it.
const CONFIG: &str = r#"{
    "created": "2026-11-28T01:02:03.123456789Z", "author": "A <a@example>", "architecture": "arm",
    "variant": "v6", "os": "linux", "os.version": "10.0.1", "os.features": ["f"],
    "docker_version": "20.10", "container_config": {"Hostname": "x"},
    "history": [
        {"created": "2026-11-28T01:02:03Z", "created_by": "ADD", "author": "a", "comment": "c"},
        {"created_by": "ENV", "empty_layer": true}
    ],
    "rootfs": {"type": "layers", "diff_ids": [
        "sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    ]},
    "config": {
        "Cmd": ["sh"], "Entrypoint": null, "Env": ["B=2", "A=1"], "User": "u:g", "WorkingDir": "/w",
        "Labels": {"z": "1", "b": "2", "a": "<&>\u2028"}, "StopSignal": "SIGINT",
        "ExposedPorts": {"81/tcp": {}, "80/udp": {}}, "Volumes": {"/v": {}, "/d": {}},
        "Healthcheck": {"Test": ["CMD", "t"], "Interval": 30000000000, "Retries": 3},
        "OnBuild": ["RUN x"], "Shell": ["/bin/bash", "-c"], "ArgsEscaped": true, "Tty": false,
        "Domainname": ""
    }
}"#;

/// The text that is written for [`CONFIG`].
const WRITTEN: &str = concat!(
    r#"{"created":"2026-11-28T01:02:03.123456789Z","author":"A <a@example>","#,
    r#""architecture":"arm","os":"linux","os.version":"10.0.1","os.features":["f"],"variant":"v6","#,
    r#""config":{"User":"u:g","ExposedPorts":{"80/udp":{},"81/tcp":{}},"Env":["B=2","A=1"],"#,
    r#""Cmd":["sh"],"Volumes":{"/d":{},"/v":{}},"WorkingDir":"/w","#,
    "\"Labels\":{\"a\":\"<&>\u{2028}\",\"b\":\"2\",\"z\":\"1\"},\"StopSignal\":\"SIGINT\",",
    r#""Healthcheck":{"Test":["CMD","t"],"Interval":30000000000,"Retries":3},"#,
    r#""OnBuild":["RUN x"],"Shell":["/bin/bash","-c"],"ArgsEscaped":true,"Domainname":"","#,
    r#""Tty":false},"rootfs":{"type":"layers","diff_ids":"#,
    r#"["sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"]},"#,
    r#""history":[{"created":"2026-11-28T01:02:03Z","created_by":"ADD","author":"a","comment":"c"},"#,
    r#"{"created_by":"ENV","empty_layer":true}],"container_config":{"Hostname":"x"},"#,
    r#""docker_version":"20.10"}"#,
);

fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Two images with all that a build can ask for: several annotations in each place.
fn assembled() -> Assembled {
    let parts = |platform: &str, media_type: &str, config: ImageConfig| {
        let mut layer = Descriptor::of(media_type, b"a");
        layer.annotations = annotations(&[("y", "1"), ("x", "2"), ("z", "3")]);
        layer.other.insert("urls".to_owned(), json!(["https://u.example"]));
        ImageParts {
            platform: platform.parse().unwrap(),
            config,
            layers: vec![layer],
            annotations: annotations(&[("m2", "v"), ("m1", "v"), ("m3", "v")]),
            descriptor_annotations: annotations(&[("d2", "v"), ("d1", "v")]),
        }
    };
    let windows = json!({
        "architecture": "amd64", "os": "windows", "os.version": "10.0.20348.1",
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(b"a")]},
    });
    let platforms: [Platform; 2] =
        ["windows/amd64", "linux/arm/v6"].map(|name| name.parse().unwrap());
    let images = vec![
        parts("linux/arm/v6", OCI_LAYER_ZSTD, serde_json::from_str(CONFIG).unwrap()),
        parts("windows/amd64", DOCKER_LAYER_GZIP, serde_json::from_value(windows).unwrap()),
    ];
    let options = AssembleOptions {
        index_annotations: annotations(&[("i2", "v"), ("i1", "v")]),
        index_descriptor_annotations: annotations(&[("t2", "v"), ("t1", "v")]),
        always_index: false,
        ..AssembleOptions::default()
    };
    assemble(&platforms, images, &options).unwrap()
}

#[test]
fn bytes_stay_as_they_are() {
    let assembled = assembled();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let arm = &assembled.images[1];
    assert_eq!(text(&arm.config), WRITTEN);
    let layer = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let config = Digest::of(WRITTEN.as_bytes());
    let manifest = [
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
        r#""config":{"mediaType":"application/vnd.oci.image.config.v1+json","#,
        &format!(r#""digest":"{config}","size":{}}},"#, WRITTEN.len()),
        r#""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+zstd","#,
        &format!(r#""digest":"sha256:{layer}","size":1,"#),
        r#""annotations":{"x":"2","y":"1","z":"3"}}],"#,
        r#""annotations":{"m1":"v","m2":"v","m3":"v"}}"#,
    ];
    let manifest = manifest.concat();
    assert_eq!(text(&arm.manifest), manifest);
    let windows = &assembled.images[0];
    let entry = |bytes: &[u8], platform: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{{platform}}},"annotations":{{"d1":"v","d2":"v"}}}}"#,
            Digest::of(bytes),
            bytes.len()
        )
    };
    let first = r#""architecture":"amd64","os":"windows","os.version":"10.0.20348.1""#;
    let second = r#""architecture":"arm","os":"linux","os.version":"10.0.1","os.features":["f"],"variant":"v6""#;
    let index = [
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":["#,
        &entry(&windows.manifest, first),
        ",",
        &entry(manifest.as_bytes(), second),
        r#"],"annotations":{"i1":"v","i2":"v"}}"#,
    ];
    assert_eq!(text(assembled.root().1), index.concat());
    assert_eq!(assembled.root().0.digest, Digest::of(index.concat().as_bytes()));
}

/// `oci-spec` is the second reader: other programs in Rust see what we mean.
#[test]
fn others_read_what_we_write() {
    let assembled = assembled();
    let index = ImageIndex::from_reader(assembled.root().1).unwrap();
    assert_eq!(index.media_type(), &Some(MediaType::ImageIndex));
    assert_eq!(index.annotations().as_ref().unwrap()["i1"], "v");
    let platforms = [(Os::Windows, Arch::Amd64, None), (Os::Linux, Arch::ARM, Some("v6"))];
    for ((image, entry), (os, architecture, variant)) in
        assembled.images.iter().zip(index.manifests()).zip(platforms)
    {
        assert_eq!(entry.digest().as_ref(), image.descriptor.digest.to_string());
        assert_eq!(entry.size(), image.manifest.len() as u64);
        let platform = entry.platform().as_ref().unwrap();
        assert_eq!((platform.os(), platform.architecture()), (&os, &architecture));
        assert_eq!(platform.variant().as_deref(), variant);

        let manifest = ImageManifest::from_reader(&image.manifest[..]).unwrap();
        assert_eq!(manifest.config().media_type(), &MediaType::ImageConfig);
        assert_eq!(manifest.config().digest().as_ref(), image.config_descriptor.digest.to_string());
        let layers: Vec<_> = manifest.layers().iter().map(|l| l.digest().to_string()).collect();
        assert_eq!(layers, [Digest::of(b"a").to_string()]);
        assert_eq!(manifest.layers()[0].annotations().as_ref().unwrap().len(), 3);
        assert_eq!(manifest.annotations().as_ref().unwrap().len(), 3);

        let config = ImageConfiguration::from_reader(&image.config[..]).unwrap();
        assert_eq!((config.os(), config.architecture()), (&os, &architecture));
        assert_eq!(config.rootfs().diff_ids(), &[Digest::of(b"a").to_string()]);
    }
    let config = ImageConfiguration::from_reader(&assembled.images[1].config[..]).unwrap();
    let config = config.config().as_ref().unwrap();
    assert_eq!(config.env().as_ref().unwrap(), &["B=2", "A=1"]);
    assert_eq!(config.labels().as_ref().unwrap()["a"], "<&>\u{2028}");
    assert_eq!(
        (config.user().as_deref(), config.working_dir().as_deref()),
        (Some("u:g"), Some("/w"))
    );
}

#[test]
fn others_read_our_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let images = Images::new(&["linux/amd64"], &[]);
    NamedContent { built: &images.built(), names: &[], tag: None }
        .alone()
        .write_folder(folder.path())
        .unwrap();
    let marker = OciLayout::from_file(folder.path().join("oci-layout")).unwrap();
    assert_eq!(marker.image_layout_version(), "1.0.0");
    let index = ImageIndex::from_file(folder.path().join("index.json")).unwrap();
    let digest = images.assembled.root().0.digest.to_string();
    assert_eq!(index.manifests()[0].digest().as_ref(), digest);
}

/// A configuration that was read and not changed loses nothing.
#[test]
fn members_that_nobody_knows_survive() {
    let config: ImageConfig = serde_json::from_str(CONFIG).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(CONFIG).unwrap();
    expected["config"].as_object_mut().unwrap().remove("Entrypoint");
    assert_eq!(serde_json::to_value(&config).unwrap(), expected);
    assert_eq!(config.rootfs.diff_ids, [DiffId(Digest::of(b"a"))]);
}

#[test]
fn null_is_nothing() {
    let descriptor = json!({"mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": Digest::of(b""), "size": 0, "annotations": null});
    let manifest =
        json!({"schemaVersion": 2, "config": descriptor, "layers": null, "annotations": null});
    let platform = json!({"os": "linux", "architecture": "arm", "os.features": null});
    let entry = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(b""), "size": 0, "platform": platform});
    let index = json!({"schemaVersion": 2, "manifests": [entry], "annotations": null});
    for document in [manifest, index] {
        let bytes = document.to_string();
        match Document::parse(None, bytes.as_bytes()).unwrap() {
            (Document::Manifest(manifest), MediaType::ImageManifest) => {
                assert!(manifest.layers.is_empty() && manifest.annotations.is_empty());
            }
            (Document::Index(index), MediaType::ImageIndex) => {
                assert_eq!(index.manifests[0].platform.as_ref().unwrap().os, "linux");
            }
            other => panic!("{other:?}"),
        }
    }
}
