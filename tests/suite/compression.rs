//! Outputs choose the compression of their layers.

use serde_json::Value;

use crate::harness::{Place, Registry, User, needs, to_layout, tool};
use crate::image::{self, Image};

const PLATFORMS: &str = "--platform=linux/amd64,linux/arm64";

fn place() -> Place {
    let place = Place::new(User::Me);
    let text: String = (0..40_000).map(|number| format!("{}\n", number * 7919)).collect();
    place.write("numbers", text).write("small", "small\n");
    place.dockerfile("FROM busybox\nCOPY numbers /\nCOPY small /\n");
    place
}

/// Builds into a layout; `attributes` are further ones of the output, each after a comma.
#[track_caller]
fn images(place: &Place, name: &str, attributes: &str) -> Vec<Image> {
    let layout = place.out(name);
    let output = to_layout(&layout) + attributes;
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    place.build(&[&epoch, &[PLATFORMS, "--output", &output][..]].concat()).ok();
    image::read(&layout)
}

/// Returns the ends of the layers' media types, `tar+gzip` for instance, and the layers' digests.
fn layers<'a>(image: &'a Image) -> (Vec<&'a str>, Vec<&'a str>) {
    let list = image.manifest["layers"].as_array().unwrap();
    let prefix = "application/vnd.oci.image.layer.v1.";
    let kind = |layer: &'a Value| layer["mediaType"].as_str().unwrap().strip_prefix(prefix);
    let kinds = list.iter().map(|layer| kind(layer).unwrap()).collect();
    (kinds, list.iter().map(|layer| layer["digest"].as_str().unwrap()).collect())
}

#[test]
fn one_store_serves_all_compressions() {
    let place = place();
    let default = images(&place, "default", "");
    let (kinds, base) = layers(&default[0]);
    assert!(kinds.iter().all(|kind| *kind == "tar+gzip"));
    let base = base[..base.len() - 2].to_vec();
    let mut digests = vec![layers(&default[0]).1[base.len()].to_owned()];
    for (name, attributes, kind) in [
        ("one", ",compression-level=1", "tar+gzip"),
        ("nine", ",compression=gzip,compression-level=9", "tar+gzip"),
        ("zstd", ",compression=zstd", "tar+zstd"),
        ("zstd-19", ",compression=zstd,compression-level=19", "tar+zstd"),
        ("tar", ",compression=uncompressed", "tar"),
    ] {
        let made = images(&place, name, attributes);
        assert_eq!(made.len(), 2, "{name}");
        for (image, default) in made.iter().zip(&default) {
            let ((kinds, found), (_, old)) = (layers(image), layers(default));
            let (below, new) = found.split_at(base.len());
            assert_eq!(below, &old[..base.len()], "{name}: layers of the base stay");
            assert!(kinds[base.len()..].iter().all(|found| *found == kind), "{name}: {kinds:?}");
            assert_eq!(image.config, default.config, "{name}");
            assert_eq!(new.len(), 2);
        }
        digests.push(layers(&made[0]).1[base.len()].to_owned());

        // A new store, which compresses directly, gives the same image.
        let fresh = self::place();
        let afresh = images(&fresh, name, attributes);
        let roots = |images: &[Image]| images.iter().map(|i| i.digest.clone()).collect::<Vec<_>>();
        assert_eq!(roots(&afresh), roots(&made), "{name}");
    }
    // A second request gives the first one's digests.
    assert_eq!(images(&place, "again", "")[0].digest, default[0].digest);
    let all = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), all, "each is another blob");
}

#[test]
fn layers_of_bases_are_compressed_anew_on_demand() {
    let place = place();
    let default = images(&place, "default", "");
    for (name, compression, kind) in
        [("zstd", "zstd", "tar+zstd"), ("tar", "uncompressed", "tar"), ("gzip", "gzip", "tar+gzip")]
    {
        let attributes = format!(",compression={compression},force-compression=true");
        let made = images(&place, name, &attributes);
        for (image, default) in made.iter().zip(&default) {
            assert!(layers(image).0.iter().all(|found| *found == kind), "{name}");
            assert_eq!(image.config["rootfs"], default.config["rootfs"], "{name}");
            assert_ne!(layers(image).1[0], layers(default).1[0], "{name}");
        }
    }
    assert_eq!(images(&place, "again", "")[0].digest, default[0].digest);
}

#[test]
fn outputs_of_one_build_have_compressions_of_their_own() {
    let place = place();
    let output = |name: &str, attributes: &str| to_layout(&place.out(name)) + attributes;
    let (zstd, gzip) = (output("z", ",compression=zstd"), output("g", ""));
    place.build(&["-t", "r.example/a", "--output", &zstd, "--output", &gzip]).ok();
    let read = |name: &str| image::read(&place.out(name)).remove(0);
    assert_eq!(layers(&read("z")).0.last(), Some(&"tar+zstd"));
    assert_eq!(layers(&read("g")).0.last(), Some(&"tar+gzip"));
    let refused = ["--output", "type=image", "--output", "type=image,compression=zstd"];
    place.build(&[&["-t", "r.example/a"], &refused[..]].concat()).fails(2, &["different names"]);
}

#[test]
fn other_tools_take_all_compressions() {
    needs!(Tool("skopeo"), Tool("umoci"));
    let place = place();
    for (name, attributes) in [
        ("nine", ",compression-level=9"),
        ("one", ",compression-level=1"),
        ("tar", ",compression=uncompressed"),
        ("zstd", ",compression=zstd,force-compression=true"),
    ] {
        images(&place, name, attributes);
        let from = format!("oci:{}", place.out(name).display());
        if name == "zstd" {
            // skopeo verifies and decompresses the layers, so that diff IDs name them.
            let to = place.out("decompressed");
            let target = format!("dir:{}", to.display());
            let args = ["--insecure-policy", "--override-arch", "amd64", "copy", "--quiet"];
            let decompress = ["--dest-decompress", &from, &target];
            tool("skopeo", args.into_iter().chain(decompress));
            let image = image::read(&place.out(name)).remove(0);
            for id in image.config["rootfs"]["diff_ids"].as_array().unwrap() {
                let id = id.as_str().unwrap();
                let bytes = std::fs::read(to.join(id.trim_start_matches("sha256:"))).unwrap();
                assert_eq!(image::digest(&bytes), id);
            }
        } else {
            image::accepted_by_others(&from, "linux/arm64", &place.out(&format!("{name}-copy")));
        }
    }
}

#[test]
fn registries_take_zstd() {
    needs!(Registry);
    let registry = Registry::start();
    let place = place();
    let name = format!("{}/zstd:1", registry.host);
    let output = format!("type=registry,name={name},compression=zstd,force-compression=true");
    place.build(&["--output", &output]).ok();
    // The image is a base like any other.
    place.dockerfile(&format!("FROM {name}\nCOPY --from={name} /numbers /copy\n"));
    let image = place.image(&[]);
    assert_eq!(
        image.entry("copy").content[..],
        std::fs::read(place.context().join("numbers")).unwrap()
    );
}
