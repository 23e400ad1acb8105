//! A Dockerfile for each platform, and names for each platform's own image.

use std::fs;

use serde_json::Value;

use crate::harness::{Place, Registry, User, needs, tool};
use crate::image;

const THREE: &str = "linux/amd64,linux/arm/v7,linux/arm64";

/// Returns the steps of a build that show `text`, each once.
fn steps_with(stderr: &str, text: &str) -> usize {
    let labels = stderr.lines().filter(|line| line.starts_with('#') && line.contains('['));
    labels.filter(|line| line.contains(text)).count()
}

fn in_context(place: &Place, name: &str) -> String {
    place.context().join(name).display().to_string()
}

#[test]
fn each_platform_has_its_own_dockerfile_and_ignore_file() {
    for user in User::all() {
        let place = Place::new(user);
        let shared = "FROM --platform=linux/amd64 scratch AS tools\nCOPY Dockerfile.amd64 /tool\n";
        for (name, label) in [("amd64", "one"), ("arm32v7", "two")] {
            let text = format!(
                "{shared}FROM scratch\nCOPY . /all/\nCOPY --from=tools /tool /\nLABEL x={label}\n"
            );
            place.write(&format!("Dockerfile.{name}"), text);
        }
        place.dockerfile("FROM scratch\nCOPY a b /all/\nLABEL x=rest\n");
        place.write("a", "a").write("b", "b");
        place.write("Dockerfile.amd64.dockerignore", "*\n!a\n!Dockerfile.amd64\n");
        place.write("Dockerfile.arm32v7.dockerignore", "*\n!b\n!Dockerfile.amd64\n");
        let (template, rest) =
            (in_context(&place, "Dockerfile.{arch}"), in_context(&place, "Dockerfile"));
        let args = ["--platform", THREE, "-f", &template, "-f", &rest];
        let expected = [
            ("linux/amd64", "one", &["all/Dockerfile.amd64", "all/a", "tool"][..]),
            ("linux/arm/v7", "two", &["all/Dockerfile.amd64", "all/b", "tool"]),
            ("linux/arm64", "rest", &["all/a", "all/b"]),
        ];
        let images = place.images(&args);
        for (image, (platform, label, files)) in images.iter().zip(expected) {
            assert_eq!(image.platform, platform);
            assert_eq!(image.config["config"]["Labels"]["x"], label);
            let found = image.files();
            let found = found.iter().filter(|(_, entry)| entry.kind == "file");
            assert_eq!(found.map(|(path, _)| path.as_str()).collect::<Vec<_>>(), files);
        }
        // Nothing is done twice, alone or together with the others.
        place.build(&args).ok().did_nothing();
        let own = in_context(&place, "Dockerfile.arm32v7");
        place.build(&["--platform", "linux/arm/v7", "-f", &own]).ok().did_nothing();
        let own = place.images(&["--platform", "linux/arm/v7", "-f", &own]);
        assert_eq!(own[0].digest, images[1].digest);
        // A change that one ignore file hides concerns the other platforms only.
        place.write("b", "changed");
        let again = place.images(&args);
        let same: Vec<bool> =
            images.iter().zip(&again).map(|(old, new)| old.digest == new.digest).collect();
        assert_eq!(same, [true, false, false]);
    }
}

#[test]
fn steps_that_dockerfiles_share_are_done_once() {
    let place = Place::new(User::Me);
    let shared = "FROM --platform=$BUILDPLATFORM scratch AS tools\nCOPY a /tool\n";
    for name in ["x", "y"] {
        place.write(name, format!("{shared}FROM scratch\nCOPY --from=tools /tool /{name}\n"));
    }
    place.write("a", "a");
    let files = ["x", "y"].map(|name| in_context(&place, name));
    let arm = format!("linux/arm64={}", files[0]);
    let args = ["--platform", "linux/arm64,linux/s390x", "-f", &arm, "-f", &files[1]];
    let built = place.build(&args).ok();
    assert_eq!(steps_with(&built.stderr, "COPY a /tool"), 1, "{}", built.stderr);
    assert_eq!(steps_with(&built.stderr, "COPY --from=tools"), 2, "{}", built.stderr);
    built.says(&["[linux/arm64 stage-1 1/1]", "[linux/s390x stage-1 1/1]"]);
}

#[test]
fn errors_name_the_dockerfile_and_the_platform() {
    let place = Place::new(User::Me);
    place.write("good", "FROM scratch\nCOPY a /\n").write("a", "a");
    place.write("bad", "FROM scratch\n\nCOPY absent /\n");
    let [good, bad] = ["good", "bad"].map(|name| in_context(&place, name));
    let arm = format!("linux/arm64={bad}");
    let two = ["--platform", "linux/amd64,linux/arm64"];
    let with = |files: &[&str]| {
        let files = files.iter().flat_map(|file| ["-f", file]);
        place.build(&two.iter().copied().chain(files).collect::<Vec<_>>())
    };
    let place_of_error = " --> context/bad:3";
    with(&[&arm, &good]).fails(1, &[place_of_error, "   3 |> COPY absent /", "linux/arm64"]);
    let none = in_context(&place, "Dockerfile.{arch}");
    with(&[&none]).fails(1, &["the Dockerfile of linux/amd64", "--file linux/amd64=FILE"]);
    with(&[&none, &good]).ok();
    with(&[&arm]).fails(2, &["no --file is for linux/amd64"]);
    with(&["linux/s390x=x", &good]).fails(2, &["linux/s390x is not built"]);
    with(&[&good, &bad]).fails(2, &["another --file", "PLATFORM=FILE"]);
    with(&["Dockerfile.{os}"]).fails(2, &["unknown {os}", "{goarch}"]);

    // A check sees all of them.
    place.write("odd", "FROM scratch AS B\nCOPY a /\n");
    let odd = format!("linux/arm64={}", in_context(&place, "odd"));
    let context = place.context();
    let check = |format: &str, last: &str| {
        let args = ["check", "--format", format, "--platform", two[1], "-f", &good, "-f", last];
        place.run(args.iter().copied().chain([context.to_str().unwrap()]))
    };
    check("text", &odd).fails(1, &[]).prints(&["odd: 1 warning", "good: no warnings"]);
    check("text", &arm).ok();
    let found: Value = serde_json::from_str(&check("json", &odd).stdout).unwrap();
    assert_eq!(found["sources"].as_array().unwrap().len(), 2);
    assert_eq!(found["warnings"][0]["ruleName"], "StageNameCasing");
    let found: Value = serde_json::from_str(&check("sarif", &odd).stdout).unwrap();
    let uri = &found["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert!(uri["artifactLocation"]["uri"].as_str().unwrap().ends_with("/odd"), "{uri}");
}

#[test]
fn templates_name_the_images_of_single_platforms() {
    needs!(Registry, Tool("skopeo"));
    for user in User::all() {
        let registry = Registry::start();
        let place = Place::new(user);
        place
            .write("a", "a")
            .dockerfile("FROM scratch\nCOPY a /\nARG TARGETARCH\nLABEL x=$TARGETARCH\n");
        let name = |name: &str| format!("{}/{name}", registry.host);
        let tags = ["app:{arch}-1", "{arch}/other:{platform}", "app:1"].map(name);
        let metadata = place.out("metadata.json");
        let mut args = vec!["--platform", THREE, "--push"];
        args.extend(tags.iter().flat_map(|tag| ["-t", tag]));
        args.extend(["--metadata-file", metadata.to_str().unwrap()]);
        place.build(&args).ok().prints(&["app:arm32v7-1 (linux/arm/v7)"]);
        let raw = |name: &str| {
            let source = format!("docker://{}/{name}", registry.host);
            tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]).into_bytes()
        };
        let index: Value = serde_json::from_slice(&raw("app:1")).unwrap();
        let metadata: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
        for (number, (arch, platform)) in
            [("amd64", "linux-amd64"), ("arm32v7", "linux-arm-v7"), ("arm64v8", "linux-arm64")]
                .into_iter()
                .enumerate()
        {
            let expected = &index["manifests"][number]["digest"];
            assert_eq!(*expected, image::digest(&raw(&format!("app:{arch}-1"))));
            assert_eq!(*expected, image::digest(&raw(&format!("{arch}/other:{platform}"))));
            let names = format!("{0}/app:{arch}-1,{0}/{arch}/other:{platform}", registry.host);
            assert_eq!(metadata["containerimage.platforms"][number]["image.name"], names);
        }
        // An image of one platform is where its name is, and nothing else is there.
        let layers = |repository: &str| {
            let push = format!("/v2/{repository}/blobs/uploads/");
            registry
                .requests()
                .iter()
                .filter(|r| r.starts_with("POST ") && r.contains(&push))
                .count()
        };
        assert!(layers("arm64v8/other") <= 3, "{:?}", registry.requests());

        // A layout has the names, too.
        for kind in ["false", "true"] {
            let layout = place.out(&format!("layout-{kind}"));
            let output = format!("type=oci,tar={kind},dest={}", layout.display());
            let tags = ["-t", "r.example/app:{arch}", "-t", "r.example/app:all"];
            let args = ["--platform", THREE, "--output", &output];
            place.build(&[&args[..], &tags].concat()).ok();
            for (tag, found) in [("all", "index"), ("arm32v7", "manifest")] {
                let name = format!("oci-layout://{}:{tag}", layout.display());
                place.run(["inspect", &name]).ok().prints(&[&format!("\n{found}:")]);
            }
        }

        // Without another name there is no index to push.
        let only = name("only:{goarch}");
        place.build(&["--platform", "linux/amd64,linux/arm64", "--push", "-t", &only]).ok();
        let single: Value = serde_json::from_slice(&raw("only:arm64")).unwrap();
        assert!(single["layers"].is_array(), "{single}");
        let arms = "linux/arm/v6,linux/arm/v7";
        let refused = place.build(&["--platform", arms, "--push", "-t", &only]);
        refused
            .fails(2, &["only:arm would name the image of linux/arm/v7 and that of linux/arm/v6"]);
        place.build(&["-t", "r.example/a:{os}"]).fails(2, &["invalid --tag", "unknown {os}"]);
        place.build(&["-t", "r.example/a:{arch"]).fails(2, &["a brace without a partner"]);
    }
}
