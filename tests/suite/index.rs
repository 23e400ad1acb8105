//! Indexes made of images that exist, and changed: `index`, `imagetools` and `manifest`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Finished, Place, Registry, User, needs, to_layout, tool};
use crate::image;

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// A registry, and a place whose context has a file.
struct Setup {
    registry: Registry,
    place: Place,
}

impl Setup {
    fn new(user: User) -> Self {
        let place = Place::new(user);
        place.write("a", "a");
        place.dockerfile("FROM scratch\nARG TARGETPLATFORM\nCOPY a /$TARGETPLATFORM/\n");
        Self { registry: Registry::start(), place }
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host)
    }

    /// Builds and pushes an image for platforms; returns its digest.
    fn push(&self, platforms: &str, name: &str) -> String {
        let name = self.name(name);
        let built = self.place.build(&["--platform", platforms, "--push", "-t", &name, "-q"]).ok();
        built.stdout.trim().to_owned()
    }

    fn run(&self, args: &[&str]) -> Finished {
        self.place.run(args)
    }

    fn raw(&self, name: &str) -> Vec<u8> {
        let source = format!("docker://{}", self.name(name));
        tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]).into_bytes()
    }

    fn index(&self, name: &str) -> Value {
        serde_json::from_slice(&self.raw(name)).unwrap()
    }
}

/// Returns the platforms and digests of an index.
fn entries(index: &Value) -> Vec<(String, String)> {
    let entry = |entry: &Value| {
        let platform = &entry["platform"];
        let parts = ["os", "architecture", "variant"].map(|name| platform[name].as_str());
        let platform = parts.into_iter().flatten().collect::<Vec<_>>().join("/");
        (platform, entry["digest"].as_str().unwrap().to_owned())
    };
    index["manifests"].as_array().unwrap().iter().map(entry).collect()
}

fn pair(platform: &str, digest: &str) -> (String, String) {
    (platform.to_owned(), digest.to_owned())
}

#[test]
fn machines_push_and_their_metadata_become_one_index() {
    needs!(Registry, Tool("skopeo"));
    for user in User::all() {
        let setup = Setup::new(user);
        let name = setup.name("app:1");
        let mut digests = Vec::new();
        for arch in ["amd64", "arm64"] {
            let file = setup.place.out(&format!("{arch}.json"));
            let (platform, tag) = (format!("linux/{arch}"), format!("{name}-{arch}"));
            let args = ["--platform", &platform, "--push", "-t", &tag, "--metadata-file"];
            setup.place.build(&[&args[..], &[file.to_str().unwrap()]].concat()).ok();
            let metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            digests.push(metadata["containerimage.digest"].as_str().unwrap().to_owned());
        }
        let files = ["amd64", "arm64"].map(|arch| setup.place.out(&format!("{arch}.json")));
        let [first, second] = files.each_ref().map(|file| file.to_str().unwrap());
        let out = setup.place.out("index.json");
        let metadata = ["--metadata-file", out.to_str().unwrap()];
        let create = ["index", "create", &name, first, second];
        setup.run(&[&create[..], &metadata].concat()).ok().prints(&["pushed", "app:1"]);
        let index = setup.index("app:1");
        assert_eq!(index["mediaType"], OCI_INDEX);
        let both = [pair("linux/amd64", &digests[0]), pair("linux/arm64", &digests[1])];
        assert_eq!(entries(&index), both);
        let metadata: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        assert_eq!(metadata["containerimage.digest"], image::digest(&setup.raw("app:1")));
        assert_eq!(metadata["containerimage.descriptor"]["mediaType"], OCI_INDEX);
        // The children are as they were, and others accept them.
        image::accepted_by_others(
            &format!("docker://{name}"),
            "linux/arm64",
            &setup.place.out("c"),
        );

        // A push by digest has no tag.
        let output = format!("type=image,name={},push-by-digest=true,push=true", setup.name("app"));
        let by_digest = ["--output", &output, "-q"];
        let digest = setup.place.build(&by_digest).ok().stdout;
        setup.place.build(&["--output", &output]).ok().prints(&[&format!("app@{}", digest.trim())]);
        setup
            .run(&[
                "inspect",
                "--raw",
                &format!("docker://{}@{}", setup.name("app"), digest.trim()),
            ])
            .ok();
        let tagged = setup.place.build(&[&by_digest[..], &["-t", &name]].concat());
        tagged.fails(2, &["push-by-digest=true gives no tag", "name="]);

        // Digests and descriptors are of the repository of the index; a file has any of them.
        let list = setup.place.out("list");
        let descriptor = json!({"mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digests[1], "size": index["manifests"][1]["size"],
            "platform": {"os": "linux", "architecture": "arm64", "os.version": "7"}});
        fs::write(&list, descriptor.to_string()).unwrap();
        let name = setup.name("app:2");
        let args = ["index", "create", &name, &digests[0], "-f", list.to_str().unwrap()];
        setup.run(&args).ok();
        let second = setup.index("app:2");
        assert_eq!(entries(&second), both);
        assert_eq!(second["manifests"][1]["platform"]["os.version"], "7");
        fs::write(&list, "{}").unwrap();
        let args = ["index", "create", &name, "-f", list.to_str().unwrap()];
        setup.run(&args).fails(2, &["list", "not a metadata file"]);
        setup.run(&["index", "create", &name, "gone.json"]).fails(1, &["cannot read gone.json"]);
    }
}

#[test]
fn sources_of_other_repositories_are_copied() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let other = Registry::start();
    let amd64 = setup.push("linux/amd64", "one:1");
    let layout = setup.place.out("layout");
    let layout_args = ["--platform", "linux/arm64,linux/s390x", "--output", &to_layout(&layout)];
    setup.place.build(&layout_args).ok();
    let layout = format!("oci-layout://{}", layout.display());
    let two = setup.push("linux/arm/v7,linux/riscv64", "two/deep:1");

    // From two repositories and a layout into a third repository, and into another registry.
    let sources = [setup.name("one:1"), setup.name("two/deep:1"), layout.clone()];
    for host in [&setup.registry.host, &other.host] {
        let target = format!("{host}/all:1");
        let mut args = vec!["index", "create", &target];
        args.extend(sources.iter().map(String::as_str));
        setup.run(&args).ok();
        let copy = setup.place.out(&format!("copy-{}", host.replace(':', "-")));
        let to = format!("oci:{}:copy", copy.display());
        let from = format!("docker://{target}");
        let skopeo = ["copy", "--all", "--quiet", "--src-tls-verify=false", &from, &to];
        tool("skopeo", ["--insecure-policy"].iter().chain(&skopeo));
        let images = image::read(&copy);
        let platforms: Vec<&str> = images.iter().map(|image| image.platform.as_str()).collect();
        let all = ["linux/amd64", "linux/arm/v7", "linux/riscv64", "linux/arm64", "linux/s390x"];
        assert_eq!(platforms, all);
        assert_eq!(images[0].digest, amd64);
    }
    let requests = setup.registry.requests();
    let mounted = requests.iter().any(|r| r.starts_with("POST /v2/all/") && r.contains("mount="));
    assert!(mounted, "{requests:?}");

    // A single index is copied as it is, byte for byte; a single manifest if asked to.
    let copy = format!("{}/copy:1", other.host);
    setup.run(&["imagetools", "create", "-t", &copy, &sources[1]]).ok();
    let raw = |name: &str| {
        let source = format!("docker://{}/{name}", other.host);
        tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]).into_bytes()
    };
    assert_eq!(image::digest(&raw("copy:1")), two);
    let plain = ["imagetools", "create", "--prefer-index=false", "-t", &copy, &sources[0]];
    setup.run(&plain).ok();
    assert_eq!(image::digest(&raw("copy:1")), amd64);

    // Into a layout, and out of it again.
    let folder = setup.place.out("made");
    let made = format!("oci-layout://{}:v1", folder.display());
    setup.run(&["index", "create", &made, &sources[0], &layout]).ok();
    let names: Vec<_> = image::read(&folder).into_iter().map(|image| image.platform).collect();
    assert_eq!(names, ["linux/amd64", "linux/arm64", "linux/s390x"]);
    setup.run(&["index", "rm", &made, "linux/arm64"]).ok();
    let again = format!("{}/again:1", other.host);
    setup.run(&["index", "create", &again, &made]).ok();
    let index: Value = serde_json::from_slice(&raw("again:1")).unwrap();
    assert_eq!(entries(&index).len(), 2);
}

#[test]
fn indexes_are_filtered_extended_and_annotated() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    setup.push("linux/amd64,linux/arm64,linux/s390x", "all:1");
    let all = setup.name("all:1");
    let before = entries(&setup.index("all:1"));
    let name = setup.name("all:2");
    let annotation =
        ["--annotation", "k=v", "--annotation", "manifest-descriptor[linux/arm64]:d=e"];
    let platforms = ["--platform", "linux/arm64,linux/s390x"];
    let create = ["index", "create", &name, &all];
    let dry = setup.run(&[&create[..], &annotation, &platforms, &["--dry-run"]].concat()).ok();
    let printed: Value = serde_json::from_str(&dry.stdout).unwrap();
    assert!(
        !setup
            .registry
            .requests()
            .iter()
            .any(|r| r.starts_with("PUT ") && r.contains("all/manifests/2"))
    );
    setup.run(&[&create[..], &annotation, &platforms].concat()).ok();
    let index = setup.index("all:2");
    assert_eq!(index, printed);
    assert_eq!(entries(&index), before[1..]);
    assert_eq!(index["annotations"], json!({"k": "v"}));
    assert_eq!(index["manifests"][0]["annotations"], json!({"d": "e"}));
    let none = ["index", "create", &name, &all, "--platform", "linux/riscv64"];
    setup.run(&none).fails(1, &["has no entry linux/riscv64", "linux/amd64, linux/arm64"]);
    let manifest = ["index", "create", &name, &all, "--annotation", "manifest:k=v"];
    setup.run(&manifest).fails(2, &["manifests are not rewritten", "manifest-descriptor"]);

    // What is appended takes the place of the image for its platform.
    setup.place.write("a", "changed");
    let arm64 = setup.push("linux/arm64", "new:1");
    let new = setup.name("new:1");
    setup.run(&["index", "create", "--append", &name, &new]).ok();
    let index = setup.index("all:2");
    assert_eq!(entries(&index), [pair("linux/arm64", &arm64), before[2].clone()]);
    assert_eq!(index["annotations"], json!({"k": "v"}));
    // Two sources with an image for one platform are a mistake.
    setup
        .run(&["index", "create", &setup.name("x:1"), &all, &new])
        .fails(1, &["have an image for linux/arm64", "all:1", "new:1", "--platform"]);
    setup.run(&["index", "create", "--append", &setup.name("no:1"), &new]).fails(4, &["no:1"]);

    // Entries change and go.
    let annotate = ["index", "annotate", &name];
    let change = ["linux/arm64", "--variant", "v9", "--annotation", "x=y"];
    setup.run(&[&annotate[..], &change].concat()).ok();
    setup.run(&[&annotate[..], &["--annotation", "k=w"]].concat()).ok();
    let index = setup.index("all:2");
    assert_eq!(entries(&index)[0], pair("linux/arm64/v9", &arm64));
    assert_eq!(
        (&index["manifests"][0]["annotations"]["x"], &index["annotations"]["k"]),
        (&json!("y"), &json!("w"))
    );
    setup.run(&annotate).fails(2, &["nothing to change"]);
    setup
        .run(&["index", "annotate", &name, "linux/386", "--arch", "x"])
        .fails(1, &["no entry linux/386"]);
    setup.run(&["index", "rm", &name, &arm64]).ok();
    assert_eq!(entries(&setup.index("all:2")), [before[2].clone()]);
    setup.run(&["index", "rm", &name, "linux/s390x"]).fails(1, &["would have no entries"]);
}

/// What a mirror has may be old: what is changed is what the registry has.
#[test]
fn an_index_is_not_changed_from_what_a_mirror_has() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let mirror = Registry::start();
    setup.push("linux/amd64,linux/arm64", "app:1");
    let s390x = setup.push("linux/s390x", "new:1");
    let old = format!("{}/app:1", mirror.host);
    setup.place.build(&["--platform", "linux/amd64,linux/386", "--push", "-t", &old]).ok();
    let before = entries(&setup.index("app:1"));
    let flag = format!("{}={}", setup.registry.host, mirror.host);
    let (name, new) = (setup.name("app:1"), setup.name("new:1"));
    setup.run(&["index", "create", "--append", &name, &new, "--registry-mirror", &flag]).ok();
    let expected = [&before[..], &[pair("linux/s390x", &s390x)]].concat();
    assert_eq!(entries(&setup.index("app:1")), expected);
    setup.run(&["index", "rm", &name, "linux/s390x", "--registry-mirror", &flag]).ok();
    assert_eq!(entries(&setup.index("app:1")), before);
}

/// Puts a document into a layout, and returns its descriptor.
fn put(layout: &Path, media_type: &str, document: &Value) -> Value {
    let bytes = document.to_string();
    let digest = image::digest(bytes.as_bytes());
    fs::write(layout.join("blobs/sha256").join(&digest["sha256:".len()..]), &bytes).unwrap();
    json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
}

#[test]
fn attestations_go_where_their_images_go() {
    needs!(Registry, Tool("skopeo"));
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let setup = Setup::new(User::Me);
    let layout = setup.place.out("layout");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    setup.place.build(&[&platforms[..], &["--output", &to_layout(&layout)]].concat()).ok();
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let mut top = read(&layout.join("index.json"));
    let digest = top["manifests"][0]["digest"].as_str().unwrap();
    let mut index = read(&layout.join("blobs/sha256").join(&digest["sha256:".len()..]));
    let images = index["manifests"].as_array().unwrap().clone();
    for image in &images {
        let about = &image["digest"];
        let statement = put(&layout, "application/vnd.in-toto+json", &json!({"subject": about}));
        let config = json!({"architecture": "unknown", "os": "unknown",
            "rootfs": {"type": "layers", "diff_ids": [statement["digest"]]}});
        let config = put(&layout, "application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
            "layers": [statement]});
        let mut entry = put(&layout, MANIFEST, &manifest);
        entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
        entry["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": about});
        index["manifests"].as_array_mut().unwrap().push(entry);
    }
    top["manifests"] = json!([put(&layout, OCI_INDEX, &index)]);
    fs::write(layout.join("index.json"), top.to_string()).unwrap();

    let source = format!("oci-layout://{}", layout.display());
    let all = setup.name("first:1");
    setup.run(&["index", "create", &all, &source]).ok();
    assert_eq!(setup.index("first:1"), index);
    // From one repository to another, for one platform, and with an image in place of the old one.
    let one = setup.name("second:1");
    setup.run(&["index", "create", &one, &all, "--platform", "linux/arm64"]).ok();
    let manifests = |name: &str| setup.index(name)["manifests"].as_array().unwrap().clone();
    let (wanted, of_it) = (&index["manifests"][1], &index["manifests"][3]);
    assert_eq!(manifests("second:1"), [wanted.clone(), of_it.clone()]);
    let copy = setup.place.out("copy");
    let (from, to) = (format!("docker://{one}"), format!("oci:{}:x", copy.display()));
    let skopeo = ["copy", "--all", "--quiet", "--src-tls-verify=false", &from, &to];
    tool("skopeo", ["--insecure-policy"].iter().chain(&skopeo));
    setup.place.write("a", "new");
    let new = setup.push("linux/arm64", "new:1");
    setup.run(&["index", "create", "--append", &all, &setup.name("new:1")]).ok();
    let left: Vec<String> = entries(&setup.index("first:1")).into_iter().map(|e| e.1).collect();
    let amd64 = [0, 2].map(|at| index["manifests"][at]["digest"].as_str().unwrap().to_owned());
    assert_eq!(left, [amd64[0].clone(), new, amd64[1].clone()]);
}

#[test]
fn lists_of_docker_stay_lists_of_docker() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let base = setup.registry.push_busybox("base/busybox", &["--format", "v2s2"]);
    let list = setup.raw("base/busybox:latest");
    let index: Value = serde_json::from_slice(&list).unwrap();
    assert_eq!(index["mediaType"], DOCKER_INDEX);
    let copy = setup.name("copy/busybox:1");
    setup.run(&["imagetools", "create", "-t", &copy, &base]).ok();
    assert_eq!(setup.raw("copy/busybox:1"), list);
    // Put together of single images, too; with an image of another kind it is OCI's.
    let made = setup.name("base/busybox:made");
    let children: Vec<String> = entries(&index).into_iter().map(|(_, digest)| digest).collect();
    let mut args = vec!["index", "create", &made];
    args.extend(children.iter().map(String::as_str));
    setup.run(&args).ok();
    let index = setup.index("base/busybox:made");
    assert_eq!(index["mediaType"], DOCKER_INDEX);
    assert_eq!(entries(&index), entries(&serde_json::from_slice(&list).unwrap()));
    setup.push("linux/sparc64", "oci:1");
    let mixed = setup.name("base/busybox:mixed");
    setup.run(&["index", "create", &mixed, &base, &setup.name("oci:1")]).ok();
    let index = setup.index("base/busybox:mixed");
    assert_eq!(index["mediaType"], OCI_INDEX);
    // A mixed index is a base like any other.
    setup.place.dockerfile(&format!("FROM {mixed}\nCOPY a /\n"));
    setup.place.build(&["--platform", "linux/sparc64,linux/arm64"]).ok();
    // Annotations have no place in a list of Docker.
    setup.run(&["index", "annotate", &made, "--annotation", "k=v"]).ok();
    assert_eq!(setup.index("base/busybox:made")["mediaType"], OCI_INDEX);
}

#[test]
fn lists_are_in_the_store_until_they_are_pushed() {
    needs!(Registry, Tool("skopeo"));
    for user in User::all() {
        let setup = Setup::new(user);
        let digests = ["amd64", "arm64"].map(|arch| {
            let tag = format!("app:{arch}");
            setup.push(&format!("linux/{arch}"), &tag)
        });
        let [list, amd64, arm64] = ["list/app:1", "app:amd64", "app:arm64"].map(|n| setup.name(n));
        setup.run(&["manifest", "create", &list, &amd64]).ok().prints(&["Created manifest list"]);
        setup.run(&["manifest", "create", &list, &arm64]).fails(1, &["already", "--amend"]);
        setup.run(&["manifest", "create", "--amend", "--insecure", &list, &arm64]).ok();
        let annotate =
            ["manifest", "annotate", &list, &arm64, "--arch", "arm64", "--variant", "v8"];
        setup.run(&annotate).ok();
        setup.run(&["images"]).ok().prints(&["list/app"]);
        let shown = setup.run(&["manifest", "inspect", &list]).ok().stdout;
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let expected = [pair("linux/amd64", &digests[0]), pair("linux/arm64/v8", &digests[1])];
        assert_eq!(entries(&shown), expected);
        let put = "PUT /v2/list/app/";
        assert!(!setup.registry.requests().iter().any(|request| request.starts_with(put)));
        let verbose = setup.run(&["manifest", "inspect", "--verbose", &list]).ok().stdout;
        let verbose: Value = serde_json::from_str(&verbose).unwrap();
        assert_eq!(verbose[1]["Descriptor"]["digest"], digests[1]);
        assert!(verbose[0]["OCIManifest"]["layers"].is_array(), "{verbose}");

        let pushed = setup.run(&["manifest", "push", "--purge", &list]).ok().stdout;
        assert_eq!(pushed.lines().last().unwrap(), image::digest(&setup.raw("list/app:1")));
        assert_eq!(entries(&setup.index("list/app:1")), expected);
        setup.run(&["manifest", "push", &list]).fails(1, &["the store has no image"]);
        setup.run(&["manifest", "create", &list, &amd64]).ok();
        setup
            .run(&["index", "annotate", "--local", &list, "linux/amd64", "--os-version", "1"])
            .ok();
        setup.run(&["manifest", "rm", &list]).ok().prints(&["untagged"]);
        setup.run(&["manifest", "rm", &list]).fails(1, &["the store has no image"]);
        setup.run(&["manifest", "inspect", &setup.name("app:absent")]).fails(4, &["app:absent"]);
    }
}

#[test]
fn lists_are_filled_as_with_buildah() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let amd64 = setup.push("linux/amd64", "app:amd64");
    let several = "linux/amd64,linux/arm64,linux/arm/v7";
    setup.push(several, "app:all");
    let [list, one, all] = ["list/app:1", "app:amd64", "app:all"].map(|n| setup.name(n));
    let shown = || {
        let text = setup.run(&["manifest", "inspect", &list]).ok().stdout;
        let shown: Value = serde_json::from_str(&text).unwrap();
        shown["manifests"].as_array().unwrap().clone()
    };
    setup.run(&["manifest", "exists", &list]).fails(1, &["the store has no list"]);
    setup.run(&["manifest", "add", &list, &one]).fails(1, &["the store has no image"]);
    setup.run(&["manifest", "create", &list]).ok().prints(&["Created manifest list"]);
    setup.run(&["manifest", "create", &list]).fails(1, &["already"]);
    setup.run(&["manifest", "exists", &list]).ok();
    assert_eq!(shown(), [] as [Value; 0]);
    setup.run(&["manifest", "add", &list, &format!("docker://{one}")]).ok();
    assert_eq!(shown()[0]["digest"], amd64.as_str());
    // Of an index one image, or all of them.
    let arm = ["--arch", "arm", "--variant", "v7", "--annotation", "k=v"];
    setup.run(&[&["manifest", "add"], &arm[..], &[&list, &all]].concat()).ok();
    let entries = shown();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["platform"]["variant"], "v7");
    assert_eq!(entries[1]["annotations"], json!({"k": "v"}));
    let absent = ["manifest", "add", "--arch", "s390x", &list, &all];
    setup.run(&absent).fails(1, &["linux/s390x"]);
    setup.run(&["manifest", "add", "--all", &list, &all]).ok();
    assert_eq!(shown().len(), 3);
    // A single image is what the options say.
    let named = ["manifest", "add", "--os-version", "7", "--arch", "riscv64", &list, &one];
    setup.run(&named).ok();
    let changed = shown().into_iter().find(|entry| entry["digest"] == amd64.as_str()).unwrap();
    assert_eq!(changed["platform"]["os.version"], "7");
    setup.run(&["manifest", "remove", &list, &amd64]).ok();
    setup.run(&["manifest", "remove", &list, "linux/arm64"]).ok();
    setup.run(&["manifest", "remove", &list, "linux/arm64"]).fails(1, &["linux/arm64"]);
    // A list without entries stays, and may be filled again, or pushed, as with podman.
    setup.run(&["manifest", "remove", &list, "linux/arm/v7"]).ok();
    assert_eq!(shown(), [] as [Value; 0]);
    let to = format!("docker://{}", setup.name("list/empty:1"));
    setup.run(&["manifest", "push", &list, &to]).ok();
    assert_eq!(setup.index("list/empty:1")["manifests"], json!([]));
    setup.run(&["manifest", "add", &list, &all, "--arch", "arm", "--variant", "v7"]).ok();
    let to = format!("docker://{list}");
    setup.run(&["manifest", "push", "--all", "--rm", &list, &to]).ok();
    setup.run(&["manifest", "exists", &list]).fails(1, &["the store has no list"]);
    let pushed = setup.index("list/app:1");
    assert!(!pushed["manifests"].as_array().unwrap().is_empty());
    assert!(pushed["manifests"].to_string().contains("v7"), "{pushed}");
}

#[test]
fn images_of_the_store_become_a_list_and_go_with_it() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let list = setup.name("app:1");
    for arch in ["amd64", "arm64"] {
        setup
            .place
            .build(&["--platform", &format!("linux/{arch}"), "-t", &format!("app:{arch}")])
            .ok();
    }
    setup.run(&["manifest", "create", &list, "app:amd64", "app:arm64"]).ok();
    setup.run(&["index", "push", &list]).ok();
    let copy = setup.place.out("copy");
    image::accepted_by_others(&format!("docker://{list}"), "linux/arm64", &copy);
    assert_eq!(entries(&setup.index("app:1")).len(), 2);
}

#[test]
fn indexes_are_shown_in_the_forms_of_imagetools() {
    needs!(Registry);
    let setup = Setup::new(User::Me);
    let digest = setup.push("linux/amd64,linux/arm/v7", "app:1");
    let name = setup.name("app:1");
    let inspect = |args: &[&str]| {
        let args = [&["imagetools", "inspect", &name], args].concat();
        setup.run(&args).ok().stdout
    };
    let table = inspect(&[]);
    for line in [
        format!("Name:      {name}"),
        format!("MediaType: {OCI_INDEX}"),
        format!("Digest:    {digest}"),
        "  Platform:    linux/arm/v7".to_owned(),
    ] {
        assert!(table.contains(&line), "{line}\n{table}");
    }
    let raw = inspect(&["--raw"]);
    assert_eq!(image::digest(raw.as_bytes()), digest);
    assert_eq!(inspect(&["--format", "{{.Manifest.Digest}}"]), format!("{digest}\n"));
    let all: Value = serde_json::from_str(&inspect(&["--format", "{{json .}}"])).unwrap();
    assert_eq!(all["manifest"]["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(all["image"]["linux/arm/v7"]["architecture"], "arm");
    let manifest: Value =
        serde_json::from_str(&inspect(&["--format", "{{json .Manifest}}"])).unwrap();
    assert_eq!(manifest["digest"], digest);
    let os = inspect(&["--format", "{{json (index .Image \"linux/amd64\")}}"]);
    assert_eq!(serde_json::from_str::<Value>(&os).unwrap()["os"], "linux");
    let bad = "{{range .Manifest.Manifests}}x{{end}}";
    let refused = setup.run(&["imagetools", "inspect", "--format", bad, &name]);
    refused.fails(2, &["not implemented", "{{json .}}"]);
    assert_eq!(inspect(&["--format", "{{json .SBOM}}"]).trim(), "{}");
    let refused = setup.run(&["imagetools", "inspect", "--format", "{{.Absent}}", &name]);
    refused.fails(2, &["there is no \"Absent\""]);
    setup.run(&["index", "inspect", &name]).ok().prints(&["linux/arm/v7"]);
    // Scripts ask this way whether the registry has a tag, so the store does not answer for it.
    let (mine, nobodys) = (setup.name("mine:1"), setup.name("nobodys:1"));
    setup.place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    setup.place.build(&["-t", &mine]).ok();
    setup
        .run(&["imagetools", "inspect", &mine])
        .fails(4, &[&format!("`xbuild index inspect --local {mine}`")]);
    setup.run(&["index", "inspect", "--local", &mine]).ok().prints(&["Digest:"]);
    setup.run(&["imagetools", "inspect", &nobodys]).fails(4, &["nobodys"]).does_not_say("--local");
}

#[test]
fn sixteen_platforms_are_pushed_beside_two_other_pushes() {
    needs!(Registry, Tool("skopeo"));
    let setup = Setup::new(User::Me);
    let platforms: Vec<String> = [
        "amd64", "amd64/v2", "amd64/v3", "386", "arm/v5", "arm/v6", "arm/v7", "arm64", "ppc64le",
        "s390x", "riscv64", "mips64le", "loong64", "ppc64", "mips64", "mipsle",
    ]
    .iter()
    .map(|name| format!("linux/{name}"))
    .collect();
    let all = platforms.join(",");
    let start = |platforms: &str, tag: &str| {
        let store = setup.place.out(&format!("store-{}", tag.replace([':', '/'], "-")));
        let (name, store) = (setup.name(tag), store.to_str().unwrap().to_owned());
        let epoch = "SOURCE_DATE_EPOCH=1600000000";
        let args = ["--platform", platforms, "--push", "-t", &name, "--root", &store];
        let args = [&args[..], &["--build-arg", epoch]].concat();
        let mut command = setup.place.xbuild(setup.place.build_args(&args));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command.spawn().unwrap()
    };
    let mut builds =
        [start(&all, "app:all"), start("linux/amd64", "app:one"), start(&all, "app:again")];
    for build in &mut builds {
        assert!(build.wait().unwrap().success());
    }
    let found: Vec<String> = entries(&setup.index("app:all")).into_iter().map(|(p, _)| p).collect();
    assert_eq!(found, platforms);
    assert_eq!(setup.index("app:all"), setup.index("app:again"));
    // Everything of it is there, also for somebody else.
    let copy = setup.place.out("copy");
    let (from, to) =
        (format!("docker://{}", setup.name("app:all")), format!("oci:{}:x", copy.display()));
    let skopeo = ["copy", "--all", "--quiet", "--src-tls-verify=false", &from, &to];
    tool("skopeo", ["--insecure-policy"].iter().chain(&skopeo));
    assert_eq!(image::read(&copy).len(), 16);
}
