//! Images of the store: named by builds and pulls, found by other builds, moved as they are.

use serde_json::Value;

use crate::harness::{Finished, Place, Registry, User, needs, tool};

/// A registry that refuses connections: whoever asks it fails at once.
const NOBODY: &str = "127.0.0.1:1";

fn images(place: &Place) -> Vec<Value> {
    let listed = place.run(["images", "--format", "json"]).ok();
    serde_json::from_str::<Value>(&listed.stdout).unwrap().as_array().unwrap().clone()
}

fn digest_of(place: &Place, name: &str) -> String {
    let listed = place.run(["images", "-q", "--digests", name]).ok();
    listed.stdout.trim().to_owned()
}

/// Returns the digest that a name has in a registry.
fn digest_in_registry(name: &str) -> String {
    let args = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}"];
    tool("skopeo", args.into_iter().chain([format!("docker://{name}").as_str()])).trim().to_owned()
}

#[test]
fn a_build_names_an_image_that_other_builds_stand_on() {
    for user in User::all() {
        let place = Place::new(user);
        let name = format!("{NOBODY}/team/base:1");
        place.write("made", "by the first build\n");
        place.dockerfile("FROM busybox\nCOPY made /made\nENTRYPOINT [\"/bin/sh\"]\n");
        let first = place.build(&["-t", &name]).ok();
        first.says(&[&format!("is in the store: `xbuild run {name}`, or `xbuild push {name}`")]);
        let [image] = &images(&place)[..] else { panic!("one image") };
        assert_eq!((&image["name"], &image["owner"]), (&name.clone().into(), &"store".into()));
        assert!(first.stdout.contains(image["digest"].as_str().unwrap()));
        assert_eq!(image["platforms"].as_array().unwrap().len(), 1);

        // Nothing is left of the base image's layout, and no registry is there.
        std::fs::remove_dir_all(place.path().join("bases")).unwrap();
        place.dockerfile(&format!(
            "FROM {name} AS again\nFROM scratch\nCOPY --from=again /made /one\n\
             COPY --from={name} /made /two\nCOPY --from=named /made /three\n"
        ));
        let context = place.context();
        let named = format!("named=docker-image://{name}");
        let args = ["build", "--progress", "plain", "--build-context", &named, "-o"];
        let out = format!("type=local,dest={}", place.out("files").display());
        let built = place.run(args.into_iter().chain([&*out, context.to_str().unwrap()])).ok();
        built.says(&[&format!("image: {name} for linux/"), "from the store"]);
        for file in ["one", "two", "three"] {
            let text = std::fs::read_to_string(place.out("files").join(file)).unwrap();
            assert_eq!(text, "by the first build\n");
        }
        let inspected = place.run(["inspect", &name]).ok();
        inspected.prints(&[image["digest"].as_str().unwrap(), "entry    [\"/bin/sh\"]"]);
    }
}

#[test]
fn the_image_of_a_build_runs() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN echo hello > /hello\nCMD [\"cat\", \"/hello\"]\n");
        place.build(&["-t", "local/hello"]).ok();
        assert_eq!(place.run(["run", "local/hello"]).ok().stdout, "hello\n");
        assert_eq!(place.run(["run", "--pull", "never", "local/hello"]).ok().stdout, "hello\n");
    }
}

#[test]
fn names_are_given_and_taken() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nLABEL a=b\n");
    place.build(&["-t", "r.example/a:1"]).ok();
    place.run(["tag", "r.example/a:1", "r.example/b", "r.example/a:2"]).ok();
    let digest = digest_of(&place, "r.example/a:1");
    assert_eq!(digest_of(&place, "r.example/b"), digest);
    assert_eq!(images(&place).len(), 3);
    // A name without a tag lists all its tags.
    let table = place.run(["images", "r.example/a"]).ok();
    table.prints(&["r.example/a:1 ", "r.example/a:2 ", "NAME ", "PLATFORMS", &digest[7..19]]);
    table.does_not_say("r.example/b");
    place.run(["images", "r.example/a:2"]).ok().does_not_say("r.example/a:1");
    let short = place.run(["images", "-q"]).ok().stdout;
    assert_eq!(short.trim(), &digest[7..19]);

    for id in [short.trim(), &digest] {
        place.run(["inspect", id]).ok().prints(&[&digest]);
    }

    place.run(["rmi", "r.example/a:1"]).ok().prints(&["untagged r.example/a:1"]);
    place.run(["tag", short.trim(), "r.example/c:3"]).ok();
    let unknown = place.run(["rmi", "r.example/none", "r.example/c:3"]);
    unknown.prints(&["untagged r.example/c:3"]);
    unknown.fails(1, &["the store has no image r.example/none", "xbuild images"]);
    // A digest stands for all its names.
    place.run(["rmi", short.trim()]).ok().prints(&["r.example/a:2", "r.example/b:latest"]);
    assert!(images(&place).is_empty());
    // The contents are there until they are pruned.
    place.run(["tag", &digest, "r.example/back"]).ok();
    place.run(["rmi", "r.example/back"]).ok();
    place.run(["prune", "--max-used-space", "0"]).ok();
    place.run(["tag", &digest, "r.example/back"]).fails(1, &["the store has no image"]);
    for (args, word) in [
        (vec!["tag", "abc", "r.example/b"], "no image abc"),
        (vec!["tag", "r.example/a:1", &format!("r.example/x@{digest}")], "no image"),
    ] {
        place.run(&args).fails(1, &[word]);
    }
}

#[test]
fn pruning_keeps_what_named_images_need() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo kept > /kept\n");
    place.build(&["-t", "local/kept:1"]).ok();
    let digest = digest_of(&place, "local/kept:1");
    place.run(["prune", "--max-used-space", "0"]).ok();
    assert_eq!(digest_of(&place, "local/kept:1"), digest);
    assert_eq!(place.run(["run", "local/kept:1", "cat", "/kept"]).ok().stdout, "kept\n");
    place.run(["prune", "--all"]).ok();
    assert!(images(&place).is_empty());
}

#[test]
fn a_base_that_no_step_needed_stays_in_its_registry_until_something_needs_it() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let base = registry.push_busybox("base/busybox", &[]);
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM {base}\nLABEL a=b\n"));
    place.build(&["-t", "local/lazy"]).ok();
    let is_layer = |request: &&String| request.starts_with("GET") && request.contains("/blobs/");
    let before = registry.requests().iter().filter(is_layer).count();
    // Its configuration alone.
    assert_eq!(before, 1, "{:?}", registry.requests());
    place.run(["prune", "--max-used-space", "0"]).ok();
    place.dockerfile("FROM local/lazy\nCOPY --from=local/lazy /etc/passwd /copied\n");
    place.build(&["-o", "type=cacheonly"]).ok();
    assert!(registry.requests().iter().filter(is_layer).count() > before);
    // The registry that has the layers is asked to mount them, and nothing is compressed again.
    let target = format!("{}/team/lazy:1", registry.host);
    let pushed = place.run(["push", "local/lazy", &target]).ok();
    assert_eq!(digest_in_registry(&target), digest_of(&place, "local/lazy"));
    pushed.says(&["was mounted"]);
    pushed.prints(&[&format!("pushed {target}: {}", digest_of(&place, "local/lazy"))]);
}

#[test]
fn what_was_pulled_is_asked_for_again_unless_it_need_not() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let base = registry.push_busybox("base/busybox", &[]);
    let place = Place::new(User::Me);
    place.run(["pull", "--platform", "linux/amd64,linux/arm64", &base]).ok();
    let digest = digest_in_registry(&base);
    let [image] = &images(&place)[..] else { panic!("one image") };
    assert_eq!((&image["digest"], &image["owner"]), (&digest.into(), &"registry".into()));
    assert_eq!(image["platforms"], serde_json::json!(["linux/amd64", "linux/arm64"]));
    place.run(["inspect", "--platform", "linux/arm64", &base]).ok().prints(&["linux/arm64"]);
    place.dockerfile(&format!("FROM {base}\nCOPY --from={base} /etc/passwd /copied\n"));
    let platform = ["--platform", "linux/arm64", "-o", "type=cacheonly"];
    let with = |more: &[&str]| place.build(&[&platform[..], more].concat());
    let asked = || {
        let tag = |request: &&String| request.ends_with("/manifests/latest");
        registry.requests().iter().filter(tag).count()
    };
    let before = asked();
    for (arguments, asks, word) in [
        (&[][..], true, "from its registry"),
        (&["--pull"], true, "from its registry"),
        (&["--pull=always"], true, "from its registry"),
        (&["--pull=missing"], false, "from the store"),
        (&["--pull=never"], false, "from the store"),
    ] {
        let before = asked();
        with(arguments).ok().says(&[word]);
        assert_eq!(asked() > before, asks, "{arguments:?}");
    }
    assert!(asked() > before);
    // A tag that a build gave is the store's, unless the registry is asked for by name.
    place.run(["tag", &base, &base]).ok();
    let before = asked();
    with(&[]).ok().says(&["from the store"]);
    assert_eq!(asked(), before);
    with(&["--pull"]).ok().says(&["from its registry"]);
    // The other platform was never pulled.
    let missing = ["--platform", "linux/s390x", "-o", "type=cacheonly", "--pull=never"];
    place.build(&missing).fails(1, &["linux/s390x is not in the store", "xbuild pull --platform"]);
    let refused: Finished = with(&["--pull=sometimes"]);
    refused.fails(2, &["--pull", "sometimes"]);
}

#[test]
fn a_build_with_everything_cached_needs_no_network_if_nothing_is_missing() {
    needs!(Run, Registry, Tool("skopeo"));
    let place = Place::new(User::Me);
    let base = {
        let registry = Registry::start();
        let base = registry.push_busybox("base/busybox", &[]);
        place.dockerfile(&format!("FROM {base}\nRUN echo a > /b\nCOPY Dockerfile /\n"));
        place.build(&["-o", "type=cacheonly"]).ok();
        base
    };
    place.build(&["-o", "type=cacheonly"]).fails(4, &[&base, "--pull=missing takes that"]);
    place.write("Other", format!("FROM {}", base.replace("busybox", "other")));
    let other = place.context().join("Other").display().to_string();
    let unknown = place.build(&["-o", "type=cacheonly", "-f", &other]).fails(4, &["base/other"]);
    unknown.does_not_say("--pull=missing");
    for pull in ["--pull=missing", "--pull=never"] {
        place.build(&["-o", "type=cacheonly", pull]).ok().did_nothing();
    }
    // A digest needs no registry to say what it is.
    let digest = place.run(["images", "-q"]).ok().stdout;
    assert_eq!(digest, "", "a base of a build is no image of the store");
}

#[test]
fn a_build_for_several_platforms_is_one_image() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\n");
    let platforms = "linux/arm64,linux/s390x";
    let built = place.build(&["--platform", platforms, "-t", "local/several"]).ok();
    let [image] = &images(&place)[..] else { panic!("one image") };
    assert_eq!(image["platforms"], serde_json::json!(["linux/arm64", "linux/s390x"]));
    built.prints(&[&format!("index            {}", image["digest"].as_str().unwrap())]);
    place.dockerfile("FROM local/several\nLABEL a=b\n");
    place.build(&["--platform", platforms, "-o", "type=cacheonly", "--pull=never"]).ok();
    // It is for no other platform, and no registry is one of this name.
    let other =
        place.build(&["--platform", "linux/riscv64", "-o", "type=cacheonly", "--pull=never"]);
    other.fails(1, &["local/several:latest for linux/riscv64 is not in the store"]);
}
