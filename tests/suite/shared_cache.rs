//! The shared cache: what an empty machine takes from it, how many requests that costs, and what
//! becomes of caches that fail or lie.

mod hostile;
mod managers;
mod mounts;
mod prune;
mod requests;
mod troubles;
mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::{Finished, Place, Registry, User, checkout, needs};

/// Two stages; the second copies from the first.
const DOCKERFILE: &str = "\
FROM busybox AS builder
WORKDIR /src
COPY source.txt ./
RUN cat /proc/sys/kernel/random/uuid > made
FROM busybox
RUN cat /proc/sys/kernel/random/uuid > /first
COPY --from=builder /src/made /srv/
WORKDIR /srv/sub
RUN cat /proc/sys/kernel/random/uuid > /second
";

fn place() -> Place {
    let place = Place::new(User::Me);
    place.write("Dockerfile", DOCKERFILE).write("source.txt", "a\n");
    place
}

/// Builds with a cache to read and to write, and returns the digest of the image as well.
fn build(place: &Place, cache: &str, more: &[&str]) -> (Finished, String) {
    let id = place.out("id");
    let (from, to) = (cache.replace("dest=", "src="), format!("{cache},mode=max"));
    let own = ["--cache-from", &from, "--cache-to", &to, "--iidfile", id.to_str().unwrap()];
    let finished = place.build(&[&own, more].concat()).ok();
    (finished, fs::read_to_string(&id).unwrap())
}

fn registry_cache(registry: &str) -> String {
    format!("type=registry,ref={registry}/cache:main")
}

#[test]
fn an_empty_machine_does_nothing_again() {
    needs!(Run, Registry);
    let registry = Registry::start();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for cache in [
        registry_cache(&registry.host),
        format!("type=local,dest={}", folder.path().join("cache").display()),
    ] {
        let (first, digest) = build(&place(), &cache, &[]);
        assert_eq!(first.steps(), "0 cached, 7 done", "{cache}");
        first.says(&["cache: 7 steps in ", "7 of them new"]);
        let (second, again) = build(&place(), &cache, &[]);
        second.did_nothing();
        second.does_not_say("warning: the cache");
        second.says(&["7 steps in ", "0 of them new"]);
        assert_eq!(again, digest, "{cache}");
        // The image is whole, with all its layers.
        let place = place();
        let from = cache.replace("dest=", "src=");
        let image = place.image(&["--cache-from", &from]);
        let files = image.files();
        assert!(files.contains_key("srv/made") && files.contains_key("second"), "{cache}");
        // After a change only what stands on it is done again.
        place.write("source.txt", "b\n");
        assert_eq!(build(&place, &cache, &[]).0.steps(), "2 cached, 5 done", "{cache}");
    }
}

#[test]
fn the_least_mode_has_the_steps_of_the_image() {
    needs!(Run);
    let registry = xbuild_testkit::registry::Registry::start();
    let cache = registry_cache(&registry.host());
    let first = place().build(&["--cache-to", &cache]).ok();
    first.says(&["cache: 4 steps in", "4 of them new"]);
    // The stage that is copied from has made another file, so what stands on the copy is new.
    let next = place().build(&["--cache-from", &cache]).ok();
    assert_eq!(next.steps(), "1 cached, 6 done");
    // A compression that is asked for is that of the layers.
    let zstd = format!("{cache},scope=zstd,mode=max,compression=zstd,compression-level=9");
    place().build(&["--cache-to", &zstd]).ok();
    let is_zstd = |tag: &String| {
        let (_, bytes) = registry.manifest("cache", tag).unwrap();
        String::from_utf8(bytes).unwrap().contains(r#""xbuild.cache.encoding":"zstd-9""#)
    };
    let tags = registry.tags("cache").into_iter().filter(|tag| tag.starts_with("c1-"));
    assert_eq!(tags.filter(is_zstd).count(), 7);
}

/// The demo: stages for the building machine, for each platform, and for the image.
#[test]
fn the_demo_is_built_from_the_cache_for_all_platforms() {
    needs!(Run, Emulation);
    let registry = xbuild_testkit::registry::Registry::start();
    let cache = registry_cache(&registry.host());
    let place = || {
        let place = Place::new(User::Me);
        let demo = checkout().join("fixtures/demo");
        for file in ["Dockerfile", "src/greet.in"] {
            place.write(file, fs::read(demo.join(file)).unwrap());
        }
        place
    };
    let platforms = ["--platform", "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x"];
    let (first, digest) = build(&place(), &cache, &platforms);
    assert!(first.steps().starts_with("0 cached"), "{}", first.steps());
    let (second, again) = build(&place(), &cache, &platforms);
    second.did_nothing();
    assert_eq!(again, digest);
    // One platform alone has a trail of its own.
    place().build(&["--cache-from", &cache, "--platform", "linux/s390x"]).ok().did_nothing();
}

#[test]
fn what_is_not_implemented_says_what_to_do() {
    let place = Place::new(User::Me);
    place.write("a", "a").write("Dockerfile", "FROM scratch\nCOPY a /\n");
    let instead = "type=registry,mode=min writes those of the image";
    place.build(&["--cache-to", "type=inline"]).fails(2, &["type=inline", instead]);
    place.build(&["--provenance=capture-usage=true"]).fails(2, &["--timeline FILE"]);
    place.build(&["--provenance=complete-materials=true"]).fails(2, &["--locked"]);
    place.build(&["--provenance=complete-materials=false"]).ok();
    // The argument that asks BuildKit for an inline cache.
    let asked = |value: &str| format!("BUILDKIT_INLINE_CACHE={value}");
    let built = place.build(&["--build-arg", &asked("1")]).ok();
    built.says(&["BUILDKIT_INLINE_CACHE has no effect", instead]);
    place.build(&["--build-arg", &asked("0")]).ok().does_not_say("BUILDKIT_INLINE_CACHE");
    // The same in the files of other tools.
    let bake = r#"{"target": {"default": {"cache-to": ["type=inline"]}}}"#;
    let compose = "services:\n  a:\n    build: {context: ., cache_to: [\"type=gha\"]}\n";
    for (file, text, words) in
        [("bake.json", bake, instead), ("compose.yaml", compose, "actions/cache")]
    {
        let file = place.out(file);
        fs::write(&file, text).unwrap();
        place.run(["bake", "-f", file.to_str().unwrap()]).fails(2, &["target ", words]);
    }
}
