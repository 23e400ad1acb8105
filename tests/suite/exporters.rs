//! Outputs and their attributes.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, Registry, User, needs, tool};

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
