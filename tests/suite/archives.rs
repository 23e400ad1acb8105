//! Archives of images: saved for other tools, loaded from them, and copied as they are.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Place, Registry, User, needs, tool};
use crate::image;

/// A place with an image of two layers, `r.example/app:1`, whose command prints `hello`.
fn with_image(user: User) -> Place {
    let place = Place::new(user);
    place.write("hello", "hello\n");
    place.dockerfile("FROM busybox\nCOPY hello /hello\nCMD [\"cat\", \"/hello\"]\n");
    place.build(&["-t", "r.example/app:1"]).ok();
    place.run(["tag", "r.example/app:1", "r.example/other:2"]).ok();
    place
}

fn path(place: &Place, name: &str) -> String {
    place.out(name).to_str().unwrap().to_owned()
}

fn digest_of(place: &Place, name: &str) -> String {
    place.run(["images", "-q", "--digests", name]).ok().stdout.trim().to_owned()
}

fn skopeo(args: &[&str]) -> String {
    tool("skopeo", ["--insecure-policy"].iter().chain(args))
}

fn config_of(place: &str) -> Value {
    serde_json::from_str(&skopeo(&["inspect", "--tls-verify=false", "--config", place])).unwrap()
}

#[test]
fn what_is_saved_is_read_by_others_and_by_us() {
    needs!(Tool("skopeo"), Tool("umoci"));
    for user in User::all() {
        let place = with_image(user);
        let file = path(&place, "app.tar");
        let names = ["r.example/app:1", "r.example/other:2"];
        place.run(["save", names[0], names[1], "-o", &file]).ok();
        // One file is an archive of `docker save` and an OCI layout.
        for name in names {
            let config = config_of(&format!("docker-archive:{file}:{name}"));
            assert_eq!(config["config"]["Cmd"], json!(["cat", "/hello"]));
        }
        let manifests = tool("tar", ["-xOf", &file, "manifest.json"]);
        let manifests: Value = serde_json::from_str(&manifests).unwrap();
        assert_eq!(manifests.as_array().unwrap().len(), 1);
        assert_eq!(manifests[0]["RepoTags"], json!(names));
        let folder = path(&place, "layout");
        fs::create_dir(&folder).unwrap();
        tool("tar", ["-C", &folder, "-xf", &file]);
        let image = image::read(Path::new(&folder)).remove(0);
        assert_eq!(image.text("hello"), "hello");
        let bundle = path(&place, "bundle");
        let rootless = ["unpack", "--rootless", "--image", &format!("{folder}:1"), &bundle];
        tool("umoci", rootless);
        assert_eq!(fs::read_to_string(format!("{bundle}/rootfs/hello")).unwrap(), "hello\n");

        // It comes back with the same digest, in whatever way.
        let digest = digest_of(&place, names[0]);
        place.run(["rmi", names[0], names[1]]).ok();
        place.run(["prune", "--max-used-space", "0"]).ok();
        let loaded = place.run(["load", "-i", &file]).ok();
        loaded.prints(&[&format!("loaded {}: {digest}", names[0]), names[1]]);
        assert_eq!(digest_of(&place, names[0]), digest);
        let again = path(&place, "again.tar");
        place.run(["save", names[0], names[1], "-o", &again]).ok();
        assert!(fs::read(&file).unwrap() == fs::read(&again).unwrap());
    }
}

#[test]
fn compressed_archives_and_pipes_are_loaded() {
    let place = with_image(User::Me);
    let file = path(&place, "app.tar");
    let saved = place.xbuild(["save", "r.example/app:1"]).output().unwrap();
    assert!(saved.status.success());
    fs::write(&file, saved.stdout).unwrap();
    let digest = digest_of(&place, "r.example/app:1");
    for (program, extension) in [("gzip", "gz"), ("bzip2", "bz2"), ("xz", "xz")] {
        place.run(["rmi", "r.example/app:1"]).ok();
        tool(program, ["-k", &file]);
        let input = format!("{file}.{extension}");
        place.run(["load", "--quiet", "-i", &input]).ok().prints(&["r.example/app:1"]);
        assert_eq!(digest_of(&place, "r.example/app:1"), digest);
    }
    place.run(["rmi", "r.example/app:1"]).ok();
    let mut command = place.xbuild(["load"]);
    command.stdin(fs::File::open(format!("{file}.gz")).unwrap());
    crate::harness::Finished::run(command).ok();
    assert_eq!(digest_of(&place, "r.example/app:1"), digest);
}

#[test]
fn archives_of_others_are_loaded() {
    needs!(Run, Tool("skopeo"));
    let place = with_image(User::Me);
    let layout = format!("oci:{}", path(&place, "layout"));
    place.run(["copy", "r.example/app:1", &format!("{layout}:1")]).ok();
    let old = path(&place, "docker.tar");
    let oci = path(&place, "oci.tar");
    skopeo(&[
        "copy",
        "-q",
        &format!("{layout}:1"),
        &format!("docker-archive:{old}:r.example/old:1"),
    ]);
    skopeo(&["copy", "-q", &format!("{layout}:1"), &format!("oci-archive:{oci}:r.example/oci:1")]);
    for (file, name) in [(&old, "r.example/old:1"), (&oci, "r.example/oci:1")] {
        place.run(["load", "-i", file]).ok().prints(&[name]);
        assert_eq!(place.run(["run", name]).ok().stdout, "hello\n");
    }
    // The configuration is the image's identity for Docker.
    let id = |name: &str| {
        let text = place.run(["inspect", "--format", "json", name]).ok().stdout;
        let found: Value = serde_json::from_str(&text).unwrap();
        found["images"][0]["manifest"]["config"]["digest"].clone()
    };
    assert_eq!(id("r.example/old:1"), id("r.example/app:1"));
    assert_eq!(digest_of(&place, "r.example/oci:1"), digest_of(&place, "r.example/app:1"));
    // The layout's folder, too; its tag alone is no name.
    let loaded = place.run(["load", "-i", &path(&place, "layout")]).ok();
    loaded.prints(&["without a name: `xbuild tag sha256:"]);
}

#[test]
fn images_are_copied_as_they_are() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let base = registry.push_busybox("base/busybox", &[]);
    let place = Place::new(User::Me);
    let raw = |from: &str| skopeo(&["inspect", "--tls-verify=false", "--raw", from]);
    let whole = raw(&format!("docker://{base}"));
    let from = format!("docker://{base}");
    let oci = format!("oci:{}:all", path(&place, "layout"));
    let archive = format!("oci-archive:{}:all", path(&place, "all.tar"));
    let there = format!("docker://{}/copy/busybox:1", registry.host);
    for (from, to) in [
        (from.as_str(), "r.example/busybox:1"),
        ("r.example/busybox:1", oci.as_str()),
        (oci.as_str(), archive.as_str()),
        (archive.as_str(), there.as_str()),
    ] {
        let copied = place.run(["copy", from, to]).ok();
        copied.prints(&[&image::digest(whole.as_bytes())]);
    }
    assert_eq!(raw(&there), whole);
    assert_eq!(raw(&oci), whole);
    // One platform is a manifest of its own, some are an index of their entries.
    let manifest = |index: &str, architecture: &str| -> String {
        let index: Value = serde_json::from_str(index).unwrap();
        let entries = index["manifests"].as_array().unwrap();
        let entry = entries.iter().find(|e| e["platform"]["architecture"] == architecture);
        entry.unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let one = format!("docker://{}/copy/busybox:arm64", registry.host);
    let copied = place.run(["copy", "-q", "--platform", "linux/arm64", &oci, &one]).ok();
    assert_eq!(copied.stdout.trim(), manifest(&whole, "arm64"));
    let two = format!("docker://{}/copy/busybox:two", registry.host);
    place.run(["copy", "--platform", "linux/arm64,linux/s390x", &from, &two]).ok();
    let shortened = raw(&two);
    for architecture in ["arm64", "s390x"] {
        assert_eq!(manifest(&shortened, architecture), manifest(&whole, architecture));
    }
    assert!(!shortened.contains("amd64"));
    place
        .run(["copy", "--platform", "plan9/arm64", &from, "r.example/none:1"])
        .fails(1, &["no match for platform plan9/arm64"]);
    // Docker's archive holds one platform: that of this machine.
    let docker = format!("docker-archive:{}:r.example/busybox:1", path(&place, "docker.tar"));
    place.run(["copy", &from, &docker]).ok().says(&["of which an archive for Docker holds one"]);
    assert_eq!(config_of(&docker)["os"], "linux");
    let back = format!("docker://{}/copy/busybox:back", registry.host);
    place.run(["copy", &docker, &back]).ok();
    assert_eq!(config_of(&back), config_of(&docker));
    for (place_text, word) in [
        ("containers-storage:a", "podman save"),
        ("docker-daemon:a", "docker save"),
        ("dir:a", "use oci:DIR"),
        ("ftp://a", "docker://NAME"),
    ] {
        place.run(["copy", place_text, "r.example/a:1"]).fails(2, &[place_text, word]);
    }
}

#[test]
fn layers_of_zstd_are_made_gzip_for_docker() {
    needs!(Tool("skopeo"));
    let place = Place::new(User::Me);
    place.write("hello", "hello\n");
    place.dockerfile("FROM busybox\nCOPY hello /\n");
    place.build(&["-t", "r.example/zstd:1", "-o", "type=image,compression=zstd"]).ok();
    let [oci, docker] = ["oci.tar", "docker.tar"].map(|name| path(&place, name));
    // Without a word it is a layout, which may have zstd; asked for, it is for Docker.
    place.run(["save", "--format", "oci", "r.example/zstd:1", "-o", &oci]).ok();
    place.run(["save", "--format", "docker", "r.example/zstd:1", "-o", &docker]).ok();
    let has_zstd = |file: &str| {
        let bytes = fs::read(file).unwrap();
        bytes.windows(8).any(|window| window == b"tar+zstd")
    };
    assert!(has_zstd(&oci) && !has_zstd(&docker));
    let place_of = format!("docker-archive:{docker}:r.example/zstd:1");
    assert_eq!(config_of(&place_of), config_of(&format!("oci-archive:{oci}:1")));
}

#[test]
fn bad_archives_are_refused() {
    let place = with_image(User::Me);
    let file = path(&place, "app.tar");
    place.run(["save", "r.example/app:1", "-o", &file]).ok();
    let folder = path(&place, "parts");
    fs::create_dir(&folder).unwrap();
    tool("tar", ["-C", &folder, "-xf", &file]);
    place.run(["prune", "--all"]).ok();
    let bad = path(&place, "bad.tar");
    let pack = |change: &dyn Fn(&Path)| {
        let copy = path(&place, "copy");
        tool("cp", ["-a", &folder, &copy]);
        change(Path::new(&copy));
        tool("tar", ["-C", &copy, "-cf", &bad, "."]);
        fs::remove_dir_all(&copy).unwrap();
    };
    let largest = |copy: &Path| {
        let blobs = fs::read_dir(copy.join("blobs/sha256")).unwrap().map(|blob| blob.unwrap());
        blobs.max_by_key(|blob| blob.metadata().unwrap().len()).unwrap().path()
    };
    type Change<'a> = &'a dyn Fn(&Path);
    let remove = |copy: &Path, name: &str| fs::remove_file(copy.join(name)).unwrap();
    let only_docker = |copy: &Path| remove(copy, "index.json");
    let cases: [(&str, Change<'_>); 6] = [
        ("it lacks the blob sha256:", &|copy| fs::remove_file(largest(copy)).unwrap()),
        ("it lacks the blob sha256:", &|copy| fs::write(largest(copy), "other").unwrap()),
        ("it lacks blobs/sha256/", &|copy| {
            only_docker(copy);
            fs::remove_file(largest(copy)).unwrap();
        }),
        ("has the bytes of", &|copy| {
            only_docker(copy);
            fs::write(largest(copy), "other").unwrap();
        }),
        ("it lacks manifest.json", &|copy| {
            remove(copy, "manifest.json");
            remove(copy, "oci-layout");
        }),
        ("manifest.json is not valid", &|copy| {
            remove(copy, "oci-layout");
            fs::write(copy.join("manifest.json"), "{}").unwrap();
        }),
    ];
    for (word, change) in cases {
        pack(change);
        place.run(["load", "-i", &bad]).fails(1, &["bad.tar", word]);
        assert_eq!(place.run(["images", "-q"]).ok().stdout, "");
    }
    let bytes = fs::read(&file).unwrap();
    fs::write(&bad, &bytes[..bytes.len() / 2]).unwrap();
    place.run(["load", "-i", &bad]).fails(1, &["cannot read", "bad.tar"]);
    fs::write(&bad, "this is no archive").unwrap();
    place.run(["load", "-i", &bad]).fails(1, &["bad.tar"]);
    place.run(["load", "-i", &path(&place, "missing.tar")]).fails(1, &["missing.tar"]);
}
