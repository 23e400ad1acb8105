//! Outputs and their attributes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Finished, Place, Registry, User, needs, to_layout, tool};
use crate::image::{self, Image};

fn skopeo(args: &[&str]) -> String {
    tool("skopeo", ["--insecure-policy"].iter().chain(args))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Returns the manifest or index that a name stands for in a registry.
fn raw(name: &str) -> Value {
    json_of(&skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]))
}

fn place() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nARG TARGETARCH\nCOPY Dockerfile /made/for-$TARGETARCH\n");
    place
}

const TWO: [&str; 2] = ["--platform", "linux/s390x,linux/amd64"];

#[test]
fn an_archive_for_docker_has_all_names_and_one_platform() {
    needs!(Tool("skopeo"));
    let place = place();
    let file = place.out("a.tar");
    let output = format!("type=docker,dest={}", file.display());
    let names = ["-t", "r.example/a:1", "-t", "r.example/b"];
    let built = place.build(&[&TWO[..], &names, &["-o", &output]].concat()).ok();
    built.says(&["r.example/a:1 has several platforms, of which an archive for Docker holds one"]);
    let manifest = json_of(&tool("tar", ["-xOf", file.to_str().unwrap(), "manifest.json"]));
    assert_eq!(manifest[0]["RepoTags"], json!(["r.example/a:1", "r.example/b:latest"]));
    let shown = file.display();
    for from in [
        format!("docker-archive:{shown}:r.example/a:1"),
        format!("docker-archive:{shown}:r.example/b:latest"),
        format!("oci-archive:{shown}:1"),
    ] {
        let config = json_of(&skopeo(&["inspect", "--config", &from]));
        // The images that `place` makes are for these two, and this machine's comes first.
        let accepted = ["amd64", "s390x"];
        assert!(accepted.contains(&config["architecture"].as_str().unwrap()), "{config}");
    }
    // A layer of zstd in the base image would not be read.
    let zstd = format!("{output},compression=zstd");
    place.build(&["-o", &zstd]).fails(2, &["no layers of zstd"]);
    // It may be named by itself, and go to standard output.
    let mut command =
        place.xbuild(place.build_args(&["-o", "type=docker,dest=-,name=r.example/c:3"]));
    let output = command.stderr(std::process::Stdio::null()).output().unwrap();
    fs::write(&file, output.stdout).unwrap();
    place.run(["load", "-i", file.to_str().unwrap()]).ok().prints(&["loaded r.example/c:3: "]);
}

#[test]
fn an_image_is_pushed_by_its_digest_alone() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place = place();
    let name = format!("{}/team/app", registry.host);
    let output =
        format!("type=image,name={name},push-by-digest=true,name-canonical=true,push=true");
    let metadata = place.out("metadata.json");
    let file = ["--metadata-file", metadata.to_str().unwrap()];
    let built = place.build(&[&TWO[..], &["-o", &output], &file].concat()).ok();
    let digest = json_of(&fs::read_to_string(&metadata).unwrap());
    let digest = digest["containerimage.digest"].as_str().unwrap().to_owned();
    built.prints(&[&format!("pushed           {name}@{digest}")]);
    assert_eq!(raw(&format!("{name}@{digest}"))["manifests"].as_array().unwrap().len(), 2);
    let tagged = |request: &String| request.ends_with("/manifests/latest");
    assert!(!registry.requests().iter().any(tagged));
    let images = json_of(&place.run(["images", "--format", "json"]).ok().stdout);
    assert_eq!(images[0]["name"], format!("{name}@{digest}"));
    assert_eq!(images.as_array().unwrap().len(), 1);
    let with_tag = output.replace(&name, &format!("{name}:1"));
    place.build(&["-o", &with_tag]).fails(2, &["push-by-digest=true gives no tag"]);
    // The store keeps nothing if it need not.
    let not_kept = format!("type=registry,name={name}:2,store=false");
    place.build(&["-o", &not_kept]).ok();
    assert_eq!(place.run(["images", "-q"]).ok().stdout.lines().count(), 1);
    raw(&format!("{name}:2"));
}

#[test]
fn each_output_has_its_own_manifests() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place = place();
    let name = |name: &str| format!("{}/team/{name}:1", registry.host);
    let [docker, plain, noted] = ["docker", "plain", "noted"].map(name);
    let outputs = [
        format!("type=registry,name={docker},oci-mediatypes=false"),
        format!("type=registry,name={plain}"),
        format!(
            "type=registry,name={noted},annotation.org.example.a=b,annotation-index.c=d,\
             annotation-manifest-descriptor[linux/s390x].e=f"
        ),
    ];
    let outputs = outputs.iter().flat_map(|output| ["-o", output]).collect::<Vec<_>>();
    place.build(&[&TWO[..], &outputs].concat()).ok();
    let child = |name: &str, number: usize| {
        let digest = raw(name)["manifests"][number]["digest"].as_str().unwrap().to_owned();
        raw(&format!("{}@{digest}", name.rsplit_once(':').unwrap().0))
    };
    let index = raw(&docker);
    assert_eq!(index["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    let manifest = child(&docker, 0);
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.docker.container.image.v1+json");
    for layer in manifest["layers"].as_array().unwrap() {
        assert_eq!(layer["mediaType"], "application/vnd.docker.image.rootfs.diff.tar.gzip");
    }
    // The layers are the same blobs.
    let digests = |manifest: &Value| -> Vec<Value> {
        let layers = manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].clone()).collect()
    };
    assert_eq!(digests(&manifest), digests(&child(&plain, 0)));
    assert_eq!(raw(&plain)["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(child(&plain, 0)["annotations"], Value::Null);
    assert_eq!(child(&noted, 0)["annotations"], json!({"org.example.a": "b"}));
    assert_eq!(raw(&noted)["annotations"], json!({"c": "d"}));
    assert_eq!(raw(&noted)["manifests"][0]["annotations"], json!({"e": "f"}));
    assert_eq!(raw(&noted)["manifests"][1]["annotations"], Value::Null);
    // Docker's documents have no annotations, and its layers no zstd.
    for (output, word) in [
        ("type=image,name=r.example/a,oci-mediatypes=false,annotation.a=b", "no annotations"),
        ("type=image,name=r.example/a,oci-mediatypes=false,compression=zstd", "zstd"),
    ] {
        place.build(&["-o", output]).fails(2, &[word]);
    }
    // What others pull of Docker's types they can use.
    let to = format!("oci:{}:1", place.out("pulled").display());
    let copy = ["copy", "-q", "--src-tls-verify=false", "--override-arch", "s390x"];
    skopeo(&[&copy[..], &[&format!("docker://{docker}"), &to]].concat());
}

#[test]
fn files_of_platforms_are_split_or_not() {
    let place = place();
    let [tar, split, merged] = ["a.tar", "split", "merged"].map(|name| place.out(name));
    let tar_of = |more: &str| format!("type=tar,dest={}{more}", tar.display());
    let members = || tool("tar", ["-tf", tar.to_str().unwrap()]);
    let has = |path: &str| members().lines().any(|line| line.trim_end_matches('/') == path);
    place.build(&[&TWO[..], &["-o", &tar_of("")]].concat()).ok();
    for path in ["linux_s390x/made/for-s390x", "linux_amd64/made/for-amd64", "linux_amd64"] {
        assert!(has(path), "{path} is missing in:\n{}", members());
    }
    place.build(&["--platform", "linux/s390x", "-o", &tar_of("")]).ok();
    assert!(has("made/for-s390x"));
    place.build(&["--platform", "linux/s390x", "-o", &tar_of(",platform-split=true")]).ok();
    assert!(has("linux_s390x/made/for-s390x"));
    let split_into = format!("type=local,dest={},platform-split=true", split.display());
    place.build(&["--platform", "linux/s390x", "-o", &split_into]).ok();
    assert!(split.join("linux_s390x/made/for-s390x").exists());

    // One folder for all holds no file twice.
    let merge_into = format!("type=local,dest={},platform-split=false", merged.display());
    let shared = place.build(&[&TWO[..], &["-o", &merge_into]].concat());
    shared.fails(2, &["platform-split=false", "also a file of another platform"]);
    place.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY Dockerfile /made/for-$TARGETARCH\n");
    place.build(&[&TWO[..], &["-o", &merge_into]].concat()).ok();
    place.build(&[&TWO[..], &["-o", &tar_of(",platform-split=false")]].concat()).ok();
    for path in ["made/for-s390x", "made/for-amd64"] {
        assert!(merged.join(path).exists() && has(path), "{path}");
    }
}

/// A time between those of the files `old` and `new` of [`dated`], in seconds since 1970.
const EPOCH: &str = "SOURCE_DATE_EPOCH=1500000000";

/// Makes a context with a file from before [`EPOCH`], 2010, and one from after it, 2020.
fn dated(dockerfile: &str) -> Place {
    let place = Place::new(User::Me);
    place.dockerfile(dockerfile);
    place.write("old", "old").touch("old", 1_262_304_000);
    place.write("new", "new").touch("new", 1_590_969_600);
    place
}

/// Returns the digests of an image's layers.
fn layers_of(image: &Image) -> Vec<String> {
    let layers = image.manifest["layers"].as_array().unwrap();
    layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
}

/// Lists files of an archive of an image's layer, or of a whole tar file, with their times.
fn times(archive: &Path) -> Vec<String> {
    let file = archive.to_str().unwrap();
    let listed = tool("tar", ["--utc", "--full-time", "-tvf", file]);
    // MODE OWNER SIZE DATE TIME NAME
    let fields = |line: &str| line.split_whitespace().skip(3).collect::<Vec<_>>().join(" ");
    listed.lines().map(fields).collect()
}

#[test]
fn times_after_the_epoch_are_rewritten_in_new_layers_alone() {
    let file = "FROM busybox\nCOPY --chmod=644 old new /files/\nCOPY old /old\n";
    let (place, other) = (dated(file), dated(file));
    let layout = place.out("layout");
    let build = |place: &Place, more: &str, args: &[&str]| {
        let output = format!("{}{more}", to_layout(&layout));
        let _ = fs::remove_dir_all(&layout);
        place.build(&[&["-o", &output][..], args].concat()).ok();
        // This verifies sizes, digests and diff IDs.
        layers_of(&image::read(&layout)[0])
    };
    let epoch = ["--build-arg", EPOCH];
    let plain = build(&place, "", &epoch);
    let rewritten = build(&place, ",rewrite-timestamp=true", &epoch);
    let count = plain.len();
    assert_eq!(rewritten.len(), count);
    assert_eq!(rewritten[..count - 2], plain[..count - 2]);
    // Nothing was later than the epoch in the last one.
    assert_eq!(rewritten[count - 1], plain[count - 1]);
    assert_ne!(rewritten[count - 2], plain[count - 2]);
    let blob = |digest: &str| layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
    assert_eq!(
        times(&blob(&rewritten[count - 2])),
        [
            "2017-07-14 02:40:00 files/",
            "2017-07-14 02:40:00 files/new",
            "2010-01-01 00:00:00 files/old"
        ]
    );

    // It is made once, and is the same everywhere.
    let layers = || {
        let mut files: Vec<_> = fs::read_dir(place.store().join("layers")).unwrap().collect();
        files
            .retain(|file| file.as_ref().unwrap().file_name().to_string_lossy().contains(".until"));
        files.len()
    };
    assert_eq!(layers(), 2);
    let again = build(&place, ",rewrite-timestamp=true", &epoch);
    assert_eq!((again, layers()), (rewritten.clone(), 2));
    let elsewhere = build(&other, ",rewrite-timestamp=true", &epoch);
    assert_eq!(elsewhere, rewritten);

    // A damaged one is made again, and the layers of an image that was built are those of a base.
    let named = "type=image,name=r.example/dated,rewrite-timestamp=true";
    place.build(&[&["-o", named][..], &epoch].concat()).ok();
    let damaged = place.store().join("blobs/sha256").join(&rewritten[count - 2]["sha256:".len()..]);
    fs::write(&damaged, "damage").unwrap();
    let again = build(&place, ",rewrite-timestamp=true", &epoch);
    assert_eq!(again, rewritten);
    place.dockerfile("FROM r.example/dated\nCOPY new /\n");
    let earlier = ["--build-arg", "SOURCE_DATE_EPOCH=1000000000"];
    let above = build(&place, ",rewrite-timestamp=true", &earlier);
    assert_eq!(above[..count], rewritten);
    assert_eq!(times(&blob(&above[count])), ["2001-09-09 01:46:40 new"]);

    // Without an epoch there is nothing to rewrite.
    let output = format!("type=oci,dest={},rewrite-timestamp=true", place.out("a.tar").display());
    place.build(&["-o", &output]).ok().says(&["no effect without SOURCE_DATE_EPOCH"]);
}

#[test]
fn times_of_commands_and_whiteouts_are_rewritten_and_pushed() {
    needs!(Run, Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place =
        dated("FROM busybox\nCOPY old new /files/\nRUN rm /files/old && echo 1 > /files/run\n");
    let name = format!("{}/team/app:1", registry.host);
    let output = format!("type=registry,name={name},rewrite-timestamp=true");
    let mut command = place.xbuild(place.build_args(&["-o", &output]));
    command.env("SOURCE_DATE_EPOCH", EPOCH.split_once('=').unwrap().1);
    Finished::run(command).ok();
    let manifest = raw(&name);
    let layers = manifest["layers"].as_array().unwrap();
    let to = place.out("pulled");
    skopeo(&[
        "copy",
        "-q",
        "--src-tls-verify=false",
        &format!("docker://{name}"),
        &format!("dir:{}", to.display()),
    ]);
    let digest = layers.last().unwrap()["digest"].as_str().unwrap();
    let listed = times(&to.join(digest.trim_start_matches("sha256:")));
    assert_eq!(
        listed,
        [
            "2017-07-14 02:40:00 files/",
            "1970-01-01 00:00:00 files/.wh.old",
            "2017-07-14 02:40:00 files/run"
        ]
    );
    // No layer was sent that the image does not have.
    let sent = registry
        .requests()
        .into_iter()
        .filter(|request| request.starts_with("PUT /v2/team/app/blobs"));
    assert_eq!(sent.count(), layers.len() + 1);
}

#[test]
fn a_single_platform_has_an_index_if_asked_for() {
    let place = place();
    let (layout, folder) = (place.out("layout"), place.out("folder"));
    let outputs = [to_layout(&layout), format!("type=local,dest={}", folder.display())];
    let outputs = ["-o", &outputs[0], "-o", &outputs[1]];
    let one = ["--platform", "linux/s390x", "--annotation", "index:a=b"];
    place.build(&[&outputs[..], &one].concat()).fails(2, &["has none"]);
    let index = ["--build-arg", "BUILDKIT_MULTI_PLATFORM=1"];
    place.build(&[&outputs[..], &one, &index].concat()).ok().prints(&["index "]);
    let root = json_of(&fs::read_to_string(layout.join("index.json")).unwrap());
    let root = &root["manifests"][0];
    assert_eq!(root["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(image::read(&layout).len(), 1);
    assert!(folder.join("linux_s390x/made/for-s390x").exists());
}

#[test]
fn the_epoch_is_the_time_of_exported_files() {
    let place = dated("FROM scratch\nCOPY old new /files/\n");
    let (tar, folder) = (place.out("a.tar"), place.out("folder"));
    let outputs = [
        format!("type=tar,dest={}", tar.display()),
        format!("type=local,dest={}", folder.display()),
    ];
    let outputs = ["-o", &outputs[0], "-o", &outputs[1]];
    place.build(&[&outputs[..], &["--build-arg", EPOCH]].concat()).ok();
    let time = "2017-07-14 02:40:00";
    let expected = ["files/", "files/new", "files/old"].map(|name| format!("{time} {name}"));
    assert_eq!(times(&tar), expected);
    for name in ["files", "files/new", "files/old"] {
        let shown = tool("stat", ["-c", "%Y", folder.join(name).to_str().unwrap()]);
        assert_eq!(shown.trim(), "1500000000", "{name}");
    }
    // Files keep their times without it.
    place.build(&outputs).ok();
    assert!(times(&tar).contains(&"2010-01-01 00:00:00 files/old".to_owned()));
}
