//! The main job of xbuild: several stages with RUN, for four platforms, by any user, pushed as one
//! index.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{CREDENTIALS, Place, Registry, User, host_state, needs, tool};
use crate::image::{self, accepted_by_others};

const PLATFORMS: [(&str, &str); 4] = [
    ("linux/amd64", "x86_64"),
    ("linux/arm64", "aarch64"),
    ("linux/arm/v7", "armv7l"),
    ("linux/s390x", "s390x"),
];

fn dockerfile(base: &str) -> String {
    format!(
        r#"
        FROM --platform=$BUILDPLATFORM {base} AS tools
        ARG BUILDPLATFORM
        RUN mkdir /out && cat /proc/sys/kernel/random/uuid > /out/once \
         && echo $BUILDPLATFORM > /out/built-on

        FROM {base} AS program
        ARG TARGETPLATFORM
        WORKDIR /work
        COPY --from=tools /out/ ./
        COPY --chmod=755 program.sh .
        RUN uname -m > machine && ./program.sh $TARGETPLATFORM > said

        FROM {base} AS unused
        RUN exit 1

        FROM {base}
        LABEL org.opencontainers.image.title=suite
        COPY --from=program /work/ /
        RUN test "$(cat /machine)" = "$(uname -m)" && ln -s /program.sh /bin/program
        USER app
        ENTRYPOINT ["/bin/program"]
        "#
    )
}

fn raw(reference: &str) -> Vec<u8> {
    let args = ["inspect", "--raw", "--tls-verify=false", reference];
    tool("skopeo", args).into_bytes()
}

#[test]
fn four_platforms_are_built_and_pushed_as_one_index() {
    needs!(Run, Emulation, Registry, Tool("skopeo"), Tool("umoci"));
    for user in User::all() {
        let registry = Registry::start();
        let base = registry.push_busybox("base/busybox", &[]);
        let place = Place::new(user);
        place.dockerfile(&dockerfile(&base));
        place.write("program.sh", "#!/bin/sh\necho \"I am for $1\"\n");
        let image = format!("{}/team/app:1", registry.host);
        let list = PLATFORMS.map(|(platform, _)| platform).join(",");
        let file = place.out("metadata.json");
        let args = ["--platform", &list, "-t", &image, "--push", "--metadata-file"];
        let args = [&args[..], &[file.to_str().unwrap()]].concat();

        let before = host_state();
        let finished = place.build(&args).ok();
        assert_eq!(host_state(), before);
        let ran = finished
            .stderr
            .lines()
            .filter(|line| line.contains("/out/built-on") && line.starts_with('#'))
            .count();
        assert_eq!(ran, 1, "the stage of the building machine is one for all: {}", finished.stderr);

        let bytes = raw(&format!("docker://{image}"));
        let index: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        let metadata: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(metadata["containerimage.digest"], image::digest(&bytes));
        assert_eq!(metadata["image.name"], image);
        finished.prints(&[&image::digest(&bytes)]);

        let manifests = index["manifests"].as_array().unwrap();
        assert_eq!(manifests.len(), PLATFORMS.len());
        let mut once = Vec::new();
        for (descriptor, (platform, machine)) in manifests.iter().zip(PLATFORMS) {
            let to = place.out(machine);
            let pulled = accepted_by_others(&format!("docker://{image}"), platform, &to);
            assert_eq!(descriptor["digest"], pulled.digest);
            finished.prints(&[&pulled.digest]);
            assert!(metadata["containerimage.platforms"].to_string().contains(&pulled.digest));
            assert_eq!(pulled.text("machine"), machine);
            assert_eq!(pulled.text("said"), format!("I am for {platform}"));
            assert_eq!(pulled.entry("program.sh").line(), "file 755 0:0 program.sh");
            assert_eq!(pulled.config["config"]["Entrypoint"], json!(["/bin/program"]));
            assert_eq!(pulled.config["config"]["User"], "app");
            once.push(pulled.text("once"));
            let rootfs = to.with_extension("bundle").join("rootfs");
            assert_eq!(fs::read_to_string(rootfs.join("machine")).unwrap().trim(), machine);
        }
        assert!(once.iter().all(|text| *text == once[0]), "{once:?}");

        // A second build does no step, and uploads nothing that the registry has.
        let already = registry.requests().len();
        let again = place.build(&args).ok();
        again.did_nothing();
        assert_eq!(raw(&format!("docker://{image}")), bytes);
        let uploads = registry.requests().split_off(already);
        // An upload that is begun and given up asks for leave.
        let sends = |request: &String| {
            request.starts_with("PATCH")
                || (request.starts_with("PUT") && request.contains("/blobs/"))
        };
        assert!(!uploads.iter().any(sends), "{uploads:#?}");
    }
}

#[test]
fn a_registry_with_a_password_is_given_it() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::with_password();
    let base = registry.push_busybox("base/busybox", &["--dest-creds", "suite:secret"]);
    for user in User::all() {
        let place = Place::new(user);
        place.write("greeting.txt", "hello\n");
        place.dockerfile(&format!("FROM {base}\nCOPY greeting.txt /\n"));
        let image = format!("{}/app:{}", registry.host, format!("{user:?}").to_lowercase());
        let build =
            || place.build(&["--platform", "linux/amd64,linux/arm64", "-t", &image, "--push"]);
        build().fails(4, &[&registry.host]);

        let folder = place.path().join("home/.docker");
        fs::create_dir(&folder).unwrap();
        let login = |auth: &str| {
            let config = json!({"auths": {&registry.host: {"auth": auth}}});
            fs::write(folder.join("config.json"), config.to_string()).unwrap();
        };
        login("c3VpdGU6d3Jvbmc="); // suite:wrong
        let refused = build().fails(4, &[&registry.host]);
        refused.does_not_say("wrong");
        login(CREDENTIALS);
        build().ok();
        let copy = place.out("copy");
        let args = ["--insecure-policy", "copy", "--all", "--quiet", "--src-tls-verify=false"];
        let more = ["--src-creds", "suite:secret"];
        let (from, to) = (format!("docker://{image}"), format!("oci:{}:copy", copy.display()));
        tool("skopeo", args.into_iter().chain(more).chain([from.as_str(), &to]));
        let images = image::read(&copy);
        assert_eq!(images.len(), 2);
        assert_eq!(images[1].text("greeting.txt"), "hello");

        let raw = place.run(["inspect", "--raw", &image]).ok().stdout;
        let index: Value = serde_json::from_str(&raw).unwrap();
        assert_eq!(index["manifests"][1]["digest"], images[1].digest);
    }
}

#[test]
fn one_platform_is_a_plain_manifest() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let base = registry.push_busybox("base/busybox", &[]);
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM {base}\nCOPY Dockerfile /\n"));
    let images = ["one:1", "other/one:2"].map(|name| format!("{}/{name}", registry.host));
    let build = ["--platform", "linux/arm64", "-t", &images[0], "-t", &images[1]];
    place.build(&[&build[..], &["--output", "type=registry"]].concat()).ok();
    let manifest: Value = serde_json::from_slice(&raw(&format!("docker://{}", images[0]))).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
    assert_eq!(raw(&format!("docker://{}", images[1])), raw(&format!("docker://{}", images[0])));

    // The image is a base, named by its digest.
    let digest = image::digest(&raw(&format!("docker://{}", images[0])));
    place.dockerfile(&format!("FROM {}/one@{digest}\nCOPY Dockerfile /again\n", registry.host));
    let image = place.image(&["--platform", "linux/arm64"]);
    assert_eq!(image.layers.len(), 3);
    // A base for another platform is a warning; one without the platform, or no base at all, is an
    // error.
    let finished = place.build(&["--platform", "linux/s390x"]).ok();
    finished.says(&["InvalidBaseImagePlatform"]);
    // Where nobody asks for a platform the image has that of its base.
    let image = place.image(&[]);
    assert_eq!((&*image.platform, &image.config["architecture"]), ("linux/arm64", &"arm64".into()));
    place.dockerfile(&format!("FROM {base}\nCOPY Dockerfile /\n"));
    place
        .build(&["--platform", "linux/mips64le"])
        .fails(1, &["linux/mips64le", " --> context/Dockerfile:1"]);
    place.dockerfile(&format!("FROM {}/one:absent\nCOPY Dockerfile /\n", registry.host));
    place.build(&[]).fails(4, &["one:absent", " --> context/Dockerfile:1"]);
}

#[test]
fn bases_in_the_media_types_of_docker_are_bases() {
    needs!(Registry, Tool("skopeo"), Tool("umoci"));
    let registry = Registry::start();
    let base = registry.push_busybox("base/busybox", &["--format", "v2s2"]);
    let index: Value = serde_json::from_slice(&raw(&format!("docker://{base}"))).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM {base}\nCOPY Dockerfile /\n"));
    let images = place.images(&["--platform", "linux/arm/v7,linux/ppc64le"]);
    let platforms: Vec<&str> = images.iter().map(|image| image.platform.as_str()).collect();
    assert_eq!(platforms, ["linux/arm/v7", "linux/ppc64le"]);
    assert!(images.iter().all(|image| image.layers.len() == 2));

    let image = format!("{}/app:1", registry.host);
    place.build(&["--platform", "linux/arm/v7,linux/ppc64le", "-t", &image, "--push"]).ok();
    accepted_by_others(&format!("docker://{image}"), "linux/ppc64le", &place.out("copy"));
}
