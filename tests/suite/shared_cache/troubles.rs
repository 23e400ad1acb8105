//! Registries that fail, and builds that are killed.

use std::process::Stdio;
use std::time::{Duration, Instant};

use xbuild_testkit::registry::{Action, Fault, Registry, Rules};
use xbuild_testkit::wire::Response;

use super::{build, place, registry_cache};
use crate::harness::{Place, User, needs};

fn answer(status: u16) -> Action {
    Action::Answer(Response::new(status).with("retry-after", "0"))
}

/// Returns how many records of steps a registry has.
fn records(registry: &Registry) -> usize {
    let is_record = |tag: &String| tag.starts_with("c1-");
    registry.tags("cache").iter().filter(|tag| is_record(tag)).count()
}

#[test]
fn ten_writers_at_once_lose_nothing() {
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let writers: Vec<Place> = (0..10)
        .map(|number| {
            let place = Place::new(User::Me);
            place.write("file", number.to_string());
            place.write("Dockerfile", "FROM scratch\nCOPY file /shared\nCOPY file /own\n");
            place
        })
        .collect();
    std::thread::scope(|scope| {
        for place in &writers {
            scope.spawn(|| build(place, &cache, &[]));
        }
    });
    // Each has written two steps that no other has.
    assert_eq!(records(&registry), 20);
    for place in &writers {
        place.run(["prune", "--all"]).ok();
        build(place, &cache, &[]).0.did_nothing();
    }
}

#[test]
fn a_killed_build_leaves_what_was_whole() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let killed = place();
    killed.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN sleep 1000\n");
    let args = killed.build_args(&["--cache-to", &format!("{cache},mode=max")]);
    let mut process = killed.xbuild(args).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while records(&registry) < 2 {
        assert!(start.elapsed() < Duration::from_secs(60), "the steps are not written");
        std::thread::sleep(Duration::from_millis(20));
    }
    // While the next step runs.
    process.kill().unwrap();
    process.wait().unwrap();
    let next = place();
    next.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\nRUN echo 3 > /3\n");
    assert_eq!(build(&next, &cache, &[]).0.steps(), "2 cached, 1 done");
}

#[test]
fn a_build_that_fails_leaves_what_it_has_made() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let failing = place();
    failing.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN exit 7\n");
    failing.build(&["--cache-to", &cache]).fails(3, &["exit code 7"]);
    let next = place();
    next.write("Dockerfile", "FROM busybox\nRUN echo 1 > /1\nRUN echo 2 > /2\n");
    assert_eq!(build(&next, &cache, &[]).0.steps(), "1 cached, 1 done");
}

#[test]
fn a_registry_that_limits_requests_is_left_alone() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]);
    // One that is busy for a moment is asked again.
    registry.fail(Fault::new("GET", "/manifests/", 1, answer(429)));
    build(&place(), &cache, &[]).0.did_nothing();
    registry.fail(Fault::new("GET", "/manifests/", usize::MAX, answer(429)));
    registry.fail(Fault::new("POST", "/blobs/uploads/", usize::MAX, answer(429)));
    let before = registry.log().len();
    let (built, _) = build(&place(), &cache, &[]);
    assert_eq!(built.steps(), "0 cached, 7 done");
    built.says(&["limits the rate of requests", "left alone for the rest of the build"]);
    assert!(registry.log().len() - before < 40, "it is not left alone");
}

#[test]
fn a_registry_that_is_not_there_is_a_warning() {
    needs!(Run);
    let (built, _) = build(&place(), "type=registry,ref=127.0.0.1:1/cache:main", &[]);
    assert_eq!(built.steps(), "0 cached, 7 done");
    built.says(&["cannot be read", "127.0.0.1:1/cache:main", "7 steps are not in the cache"]);
}

#[test]
fn large_layers_go_in_pieces() {
    let registry = Registry::start();
    registry.rules(Rules { max_body: Some(100_000), ..Rules::default() });
    let cache = registry_cache(&registry.host());
    let place = || {
        let place = Place::new(User::Me);
        let noise: Vec<u8> =
            (0..400_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        place.write("large", noise).write("Dockerfile", "FROM scratch\nCOPY large /\n");
        place
    };
    let (built, _) = build(&place(), &cache, &[]);
    built.says(&["1 steps in", "1 of them new"]);
    build(&place(), &cache, &[]).0.did_nothing();
}

#[test]
fn tags_that_cannot_be_given_again_are_enough() {
    needs!(Run);
    let registry = Registry::start();
    registry.rules(Rules { immutable_tags: true, ..Rules::default() });
    let cache = registry_cache(&registry.host());
    build(&place(), &cache, &[]).0.does_not_say("warning: the registry");
    let place = place();
    place.write("source.txt", "b\n");
    let (built, _) = build(&place, &cache, &[]);
    built.says(&["does not let a tag be given again", "t1-*"]);
    // The records are there, though the trail is the first one.
    place.run(["prune", "--all"]).ok();
    build(&place, &cache, &[]).0.did_nothing();
}

#[test]
fn a_cache_of_buildkit_is_a_miss() {
    let registry = Registry::start();
    let config = r#"{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;
    let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    registry.put_manifest("cache", "main", kind, manifest.as_bytes());
    let cache = registry_cache(&registry.host());
    let place = Place::new(User::Me);
    place.write("file", "x").write("Dockerfile", "FROM scratch\nCOPY file /\n");
    let (built, _) = build(&place, &cache, &[]);
    built.says(&["is a cache of BuildKit, which xbuild cannot read"]);
    assert_eq!(built.steps(), "0 cached, 1 done");
    assert_eq!(registry.manifest("cache", "main").unwrap().1, manifest.as_bytes());
}
