//! Builds without RUN need no namespace and no other program, and pull no layer in vain.

use std::ffi::OsString;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Finished, Place, Registry, User, have, needs, quiet, to_layout, tool};
use crate::image::{Image, accepted_by_others, read};

const PLATFORMS: &str = "linux/s390x,linux/amd64,linux/arm/v7";

const DOCKERFILE: &str = "\
FROM busybox
WORKDIR /srv/app
COPY --chown=app:staff --chmod=640 greeting.txt notes/ ./
COPY --chown=1:2 greeting.txt /etc/
ADD files.tar /unpacked/
USER app
CMD [\"cat\", \"greeting.txt\"]
";

/// The layers that the Dockerfile adds to the base.
const LAYERS: &[&[&str]] = &[
    &["dir 755 0:0 srv", "dir 755 0:0 srv/app"],
    &[
        "dir 755 0:0 srv",
        "dir 755 0:0 srv/app",
        "file 640 1234:50 srv/app/greeting.txt",
        "file 640 1234:50 srv/app/note",
    ],
    &["dir 755 0:0 etc", "file 644 1:2 etc/greeting.txt"],
    &[
        "dir 755 0:0 unpacked",
        "dir 750 7:8 unpacked/deep",
        "file 4755 7:8 unpacked/deep/program",
        "symlink 777 7:8 unpacked/deep/name -> program",
        "link 4755 7:8 unpacked/deep/other -> unpacked/deep/program",
    ],
];

/// Makes a context for [`DOCKERFILE`].
fn fill(place: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display();
    let make = format!(
        "cd {at} && mkdir -m 750 deep && echo x > deep/program && chmod 4755 deep/program \
         && ln -s program deep/name && ln deep/program deep/other \
         && tar --sort=name --mtime=@1590969600 --owner=7 --group=8 --numeric-owner -cf files.tar \
         deep/ "
    );
    tool("sh", ["-euc", &make]);
    place.write("files.tar", fs::read(folder.path().join("files.tar")).unwrap());
    place.write("greeting.txt", "hello\n").write("notes/note", "a\n").dockerfile(DOCKERFILE);
}

/// Returns the arguments that build for all platforms into the layout `name`.
fn args(place: &Place, name: &str) -> Vec<OsString> {
    let output = to_layout(&place.out(name));
    place.build_args(&["--platform", PLATFORMS, "--output", &output])
}

/// Checks that the layout `name` holds the images of [`DOCKERFILE`], and returns their digests.
#[track_caller]
fn check(place: &Place, name: &str) -> Vec<String> {
    let images = read(&place.out(name));
    let platforms: Vec<&str> = images.iter().map(|image| image.platform.as_str()).collect();
    assert_eq!(platforms.join(","), PLATFORMS);
    for image in &images {
        check_image(image);
    }
    images.into_iter().map(|image| image.digest).collect()
}

#[track_caller]
fn check_image(image: &Image) {
    assert_eq!(image.layers.len(), 1 + LAYERS.len());
    for (number, expected) in LAYERS.iter().enumerate() {
        let mut expected = expected.to_vec();
        expected.sort();
        // Either of the two names may be the link.
        let lines: Vec<String> = image.lines(number as isize + 1);
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for line in expected
            .iter()
            .filter(|line| !line.contains("link 4755") && !line.contains("file 4755"))
        {
            assert!(lines.iter().any(|other| other == line), "{line} is missing: {lines:#?}");
        }
    }
    assert_eq!(image.text("srv/app/greeting.txt"), "hello");
    assert_eq!(image.config["config"]["User"], "app");
    assert_eq!(image.config["config"]["WorkingDir"], "/srv/app");
}

#[test]
fn need_no_namespace_and_no_emulator() {
    let forbid = "echo 0 > /proc/sys/user/max_user_namespaces";
    let works = || quiet("unshare", ["--user", "--map-root-user", "sh", "-euc", forbid]);
    if !have("userns", "user namespaces, to forbid them inside of one", works) {
        return;
    }
    // Make sure that this forbids them.
    let attempt = format!("{forbid}; unshare --user true");
    assert!(!quiet("unshare", ["--user", "--map-root-user", "sh", "-euc", &attempt]));
    let mut all = Vec::new();
    for user in User::all() {
        let place = Place::new(user);
        fill(&place);
        let mut command = place.command("unshare");
        command.args(["--user", "--map-root-user", "sh", "-euc"]);
        command.arg(format!("{forbid}; umask 077; PATH=/nowhere exec \"$0\" \"$@\""));
        command.arg(place.path().join("xbuild")).args(args(&place, "forbidden"));
        command.env("SOURCE_DATE_EPOCH", "1600000000");
        Finished::run(command).ok();
        all.push(check(&place, "forbidden"));
    }
    assert!(all.iter().all(|digests| *digests == all[0]), "equal for all users: {all:?}");
}

#[test]
fn start_no_process() {
    needs!(Tool("strace"));
    for user in User::all() {
        let place = Place::new(user);
        fill(&place);
        let log = place.out("strace");
        let mut command = place.command("strace");
        command.args([
            "-f",
            "-qq",
            "-e",
            "trace=clone,clone3,fork,vfork,unshare,setns,mount,execve,execveat",
        ]);
        command.arg("-o").arg(&log).arg(place.path().join("xbuild")).args(args(&place, "traced"));
        Finished::run(command).ok();
        let text = fs::read_to_string(&log).unwrap();
        let calls: Vec<&str> = text.lines().filter(|line| !line.contains("CLONE_THREAD")).collect();
        let own = |line: &&str| line.contains("execve(") && line.contains("/xbuild\"");
        assert!(calls.iter().filter(|line| !line.contains("resumed")).all(own), "{text}");
        assert_eq!(calls.iter().filter(|line| own(line)).count(), 1, "{text}");
        check(&place, "traced");
    }
}

#[test]
fn others_accept_the_images() {
    needs!(Tool("skopeo"), Tool("umoci"));
    for user in User::all() {
        let place = Place::new(user);
        fill(&place);
        place.run(args(&place, "image")).ok();
        check(&place, "image");
        let source = format!("oci:{}", place.out("image").display());
        for platform in PLATFORMS.split(',') {
            let to = place.out(&platform.replace('/', "-"));
            check_image(&accepted_by_others(&source, platform, &to));
            let file = to.with_extension("bundle").join("rootfs/srv/app/greeting.txt");
            assert_eq!(fs::read_to_string(file).unwrap(), "hello\n");
        }
    }
}

#[test]
fn what_is_not_needed_of_a_base_is_not_pulled() {
    needs!(Registry, Tool("skopeo"));
    for user in User::all() {
        let registry = Registry::start();
        let base = registry.push_busybox("base/busybox", &[]);
        let place = Place::new(user);
        let layers: Vec<String> = read(&crate::harness::cached("busybox"))
            .iter()
            .flat_map(|image| image.manifest["layers"].as_array().unwrap())
            .map(|layer| layer["digest"].as_str().unwrap().to_owned())
            .collect();
        for (name, rest) in [
            ("config", "ENV a=b\nLABEL c=d\nUSER app\n"),
            ("link", "COPY --link greeting.txt /srv/\n"),
        ] {
            place.dockerfile(&format!("FROM {base}\n{rest}")).write("greeting.txt", "hello\n");
            let image = format!("{}/{name}:1", registry.host);
            let before = registry.requests().len();
            place.build(&["--platform", PLATFORMS, "-t", &image, "--push"]).ok();
            let pulled = |request: &&String| {
                request.starts_with("GET ")
                    && layers.iter().any(|layer| request.contains(layer.as_str()))
            };
            let requests = registry.requests().split_off(before);
            assert_eq!(requests.iter().filter(pulled).count(), 0, "{requests:#?}");
            for layer in &layers {
                let blob = place.store().join("blobs").join(layer.replace(':', "/"));
                assert!(!blob.exists(), "{layer} is in the store");
            }
            // The image in the registry is complete nevertheless.
            let args = ["--insecure-policy", "copy", "--all", "--quiet", "--src-tls-verify=false"];
            let from = format!("docker://{image}");
            let to = format!("oci:{}:copy", place.out(name).display());
            tool("skopeo", args.into_iter().chain([from.as_str(), &to]));
            let images = read(&place.out(name));
            assert_eq!(images.len(), 3);
            assert_eq!(images[0].layers.len(), if name == "config" { 1 } else { 2 });
            assert_eq!(
                images[0].config["config"]["Env"].as_array().unwrap().iter().any(|e| e == "a=b"),
                name == "config"
            );
        }
    }
}

#[test]
fn files_come_out_as_folder_or_archive() {
    let place = Place::new(User::all().into_iter().last().unwrap());
    fill(&place);
    let files = place.out("files");
    place.build(&["--output", files.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(files.join("srv/app/greeting.txt")).unwrap(), "hello\n");
    assert_eq!(fs::read_link(files.join("unpacked/deep/name")).unwrap().to_str(), Some("program"));
    assert!(files.join("bin/busybox").exists());

    let archive = place.out("files.tar");
    place.build(&["--output", &format!("type=tar,dest={}", archive.display())]).ok();
    let entries = crate::image::entries(&fs::read(&archive).unwrap());
    let line = "file 640 1234:50 srv/app/greeting.txt";
    assert!(entries.iter().any(|entry| entry.line() == line), "{entries:#?}");

    let mut command: Command = place.xbuild(place.build_args(&["--output", "-"]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, fs::read(&archive).unwrap());

    let layout = place.out("image.tar");
    place.build(&["--output", &format!("type=oci,dest={}", layout.display())]).ok();
    let names: Vec<String> = crate::image::entries(&fs::read(&layout).unwrap())
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    for name in ["oci-layout", "index.json", "blobs/sha256"] {
        assert!(
            names.iter().any(|other| other == name || other.starts_with(&format!("{name}/"))),
            "{names:?}"
        );
    }
}

#[test]
fn annotations_and_labels_get_where_they_belong() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nLABEL a=file b=file\n");
    let layout = place.out("image");
    place
        .build(&[
            "--platform",
            "linux/amd64,linux/arm64",
            "--label",
            "a=option",
            "--annotation",
            "m=1",
            "--annotation",
            "index:i=2",
            "--annotation",
            "manifest[linux/arm64]:p=3",
            "--annotation",
            "manifest-descriptor:d=4",
            "--output",
            &to_layout(&layout),
        ])
        .ok();
    let images = read(&layout);
    assert_eq!(
        images[0].config["config"]["Labels"],
        serde_json::json!({"a": "option", "b": "file"})
    );
    assert_eq!(images[0].manifest["annotations"], serde_json::json!({"m": "1"}));
    assert_eq!(images[1].manifest["annotations"], serde_json::json!({"m": "1", "p": "3"}));
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = top["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    let index: Value =
        serde_json::from_slice(&fs::read(layout.join("blobs").join(digest)).unwrap()).unwrap();
    assert_eq!(index["annotations"], serde_json::json!({"i": "2"}));
    assert_eq!(index["manifests"][0]["annotations"], serde_json::json!({"d": "4"}));
}

/// Puts an image for Windows without layers into a new layout.
fn windows_base(place: &Place) -> String {
    let layout = place.out("windows");
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, text: &str| {
        let digest = crate::image::digest(text.as_bytes());
        fs::write(blobs.join(digest.replace("sha256:", "")), text).unwrap();
        let kind = format!("application/vnd.oci.image.{kind}.v1+json");
        json!({ "mediaType": kind, "digest": digest, "size": text.len() })
    };
    let config = json!({
        "os": "windows", "architecture": "amd64", "os.version": "10.0.20348.2582",
        "config": {}, "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let config = put("config", &config.to_string());
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [],
    });
    let top = json!({ "schemaVersion": 2, "manifests": [put("manifest", &manifest.to_string())] });
    fs::write(layout.join("index.json"), top.to_string()).unwrap();
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    format!("windows=oci-layout://{}", layout.display())
}

#[test]
fn images_of_other_systems_need_no_run() {
    let place = Place::new(User::Single);
    let names = ["freebsd/amd64", "wasi/wasm", "darwin/arm64", "linux/loong64"];
    let platforms = names.join(",");
    place.dockerfile("FROM scratch\nARG TARGETOS\nWORKDIR /app\nCOPY Dockerfile for-$TARGETOS\n");
    let images = place.images(&["--platform", &platforms]);
    assert_eq!(images.iter().map(|image| &*image.platform).collect::<Vec<_>>(), names);
    assert!(images[1].text("app/for-wasi").starts_with("FROM scratch"));
    // Only a RUN needs a machine of that kind.
    for platform in ["freebsd/amd64", "wasi/wasm", "windows/amd64"] {
        place.dockerfile("FROM scratch\nRUN [\"/program\"]\n");
        place
            .build(&["--platform", platform])
            .fails(5, &[&format!("cannot run {platform} programs")]);
    }
    // The layers of Windows have another form, but its images have labels, too.
    let base = windows_base(&place);
    let windows = ["--platform", "windows/amd64", "--build-context", &base];
    for (line, name) in [("COPY a b", "COPY"), ("ADD a b", "ADD"), ("WORKDIR C:/app", "WORKDIR")] {
        place.dockerfile(&format!("FROM windows\n{line}\n"));
        place.build(&windows).fails(1, &[&format!("{name} onto windows/amd64"), "not implemented"]);
    }
    place.dockerfile("FROM windows\nLABEL a=b\nCMD [\"cmd\"]\n");
    let image = place.image(&windows);
    assert_eq!(
        (image.platform.as_str(), &image.config["os.version"]),
        ("windows/amd64", &json!("10.0.20348.2582"))
    );
    assert_eq!(image.config["config"]["Labels"], json!({ "a": "b" }));
    assert!(image.config["config"].get("Env").is_none());
}
