//! Layers are pushed while later steps run.

use crate::harness::{Place, Registry, User, needs};

/// Returns bytes that no compressor shortens; equal seeds give equal bytes.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(length).collect()
}

/// A step that waits until the registry has the blobs of `$WANTED`, half a minute at most.
const WAIT: &str = "RUN has() { wget -q --spider http://$REGISTRY/v2/app/blobs/$1; }; n=0; \
    for blob in $WANTED; do \
    until has $blob; do n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.1; done; done; \
    if has $UNWANTED; then exit 2; fi\n";

#[test]
fn layers_of_the_result_are_in_the_registry_before_the_build_ends() {
    needs!(Run, Registry);
    let registry = Registry::start();
    let other = "FROM busybox AS other\nCOPY unwanted /\n";
    let result = "FROM busybox\nCOPY large /\nCOPY small /\nCOPY --from=other unwanted /copy\n";
    let lines = &[other, result].concat();
    let place = |lines: &str| {
        let place = Place::new(User::Me);
        place.write("large", noise(1, 9 << 20)).write("unwanted", noise(2, 1 << 20));
        place.write("small", "small\n").dockerfile(lines);
        place
    };
    let epoch = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
    let digests = |target: &[&str]| -> Vec<String> {
        let image = place(lines).image(&[&epoch, target].concat());
        let layers = image.manifest["layers"].as_array().unwrap();
        layers.iter().map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (other, layers) = (digests(&["--target=other"]), digests(&[]));
    let base = other.len() - 1;
    let wanted = format!("WANTED={}", layers[base..].join(" "));
    let unwanted = format!("UNWANTED={}", other[base]);
    let host = format!("REGISTRY={}", registry.host);
    let tag = format!("{}/app:1", registry.host);
    let place = place(&format!("{lines}ARG REGISTRY\nARG WANTED\nARG UNWANTED\n{WAIT}"));
    let mut args = vec!["-t", &tag, "--push"];
    for value in [epoch[1], &wanted, &unwanted, &host] {
        args.extend(["--build-arg", value]);
    }
    place.build(&args).ok();
    // The large layer came in pieces while it was written, the others whole, and none came twice.
    let requests = registry.requests();
    let count = |text: &str| requests.iter().filter(|request| request.starts_with(text)).count();
    assert_eq!(count("PATCH /v2/app/blobs/uploads/"), 1, "{requests:?}");
    let again = place.build(&args).ok();
    again.did_nothing();
    let requests = registry.requests();
    let count = |text: &str| requests.iter().filter(|request| request.starts_with(text)).count();
    assert_eq!(count("PATCH /v2/app/blobs/uploads/"), 1, "{requests:?}");
}

#[test]
fn a_registry_that_fails_does_so_at_the_push() {
    let place = Place::new(User::Me);
    place.write("large", noise(1, 9 << 20)).dockerfile("FROM scratch\nCOPY large /\n");
    // Nobody listens there.
    let failed = place.build(&["-t", "127.0.0.1:1/app:1", "--push"]);
    failed.fails(4, &["pushing", "127.0.0.1:1/app"]);
}
