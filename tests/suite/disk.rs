//! The room that the store takes up: `du`, `prune`, and the bound that builds keep.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Finished, Place, Typed, User, needs, to_layout};

const MIB: u64 = 1 << 20;

/// Returns a MiB that no compressor shortens.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(MIB as usize).collect()
}

/// Returns what `xbuild du` knows.
fn du(place: &Place) -> Value {
    serde_json::from_str(&place.run(["du", "--format", "json"]).ok().stdout).unwrap()
}

fn names(du: &Value) -> Vec<String> {
    let records = du["records"].as_array().unwrap().iter();
    records.map(|record| record["name"].as_str().unwrap().to_owned()).collect()
}

/// Builds with another MiB in the layer of the file `name`.
fn build(place: &Place, name: &str, seed: u64, more: &[&str]) -> Finished {
    place.write(name, noise(seed)).dockerfile(&format!("FROM scratch\nCOPY {name} /\n"));
    place.build(more)
}

#[test]
fn nothing_is_wiped_unasked_and_the_oldest_goes_first() {
    let place = Place::new(User::Me);
    for (seed, name) in ["one", "two", "three"].into_iter().enumerate() {
        build(&place, name, seed as u64, &[]).ok();
        std::thread::sleep(Duration::from_millis(20));
    }
    place.run(["prune"]).ok().prints(&["removed 0 B"]);
    let known = du(&place);
    assert!(known["prunable"].as_u64().unwrap() >= 3 * MIB, "{known:#}");
    assert!(known["bound"].as_u64().unwrap() > MIB);
    let steps = known["records"].as_array().unwrap().iter();
    assert_eq!(steps.filter(|record| record["cachedStep"] == true).count(), 3, "{known:#}");
    place.run(["du", "--verbose"]).ok().prints(&["COPY three /", "layer ", "without images"]);

    // The first one is used again, so the second one is the oldest.
    std::thread::sleep(Duration::from_millis(20));
    build(&place, "one", 0, &[]).ok().did_nothing();
    let dry = place.run(["prune", "--max-used-space", "2560k", "--dry-run"]).ok();
    dry.prints(&["COPY two /", "would remove 1.0 MiB"]);
    assert!(!dry.stdout.contains("COPY one") && !dry.stdout.contains("COPY three"));
    assert_eq!(names(&du(&place)).len(), 3);
    let args = ["prune", "--keep-storage", "2560k", "--format", "json"];
    let removed: Value = serde_json::from_str(&place.run(args).ok().stdout).unwrap();
    assert!(removed["bytes"].as_u64().unwrap() >= MIB, "{removed:#}");
    build(&place, "one", 0, &[]).ok().did_nothing();
    build(&place, "three", 2, &[]).ok().did_nothing();
    let again = build(&place, "two", 1, &[]).ok();
    assert_eq!(again.steps(), "0 cached, 1 done");

    place.run(["prune", "--filter", "until=1h"]).ok().prints(&["removed 0 B"]);
    place.run(["prune", "--filter", "until=0s"]).ok();
    assert_eq!(du(&place)["prunable"], 0, "{:#}", du(&place));
    for (args, word) in [
        (&["--filter", "label=a"][..], "until="),
        (&["--filter", "until=soon"], "until="),
        (&["--max-used-space", "much"], "--max-used-space"),
        (&["--all", "--filter", "until=1h"], "--all"),
    ] {
        place.run([&["prune"], args].concat()).fails(2, &[word]);
    }
}

#[test]
fn a_terminal_is_asked_first() {
    let place = Place::new(User::Me);
    build(&place, "one", 1, &[]).ok();
    for (answer, is_left) in [("n", true), ("", true), ("y", false)] {
        let mut typed = Typed::start(place.xbuild(["prune", "--all"]));
        typed.waits_for("remove everything, the images too");
        typed.types(answer);
        typed.ends().ok();
        assert_eq!(!names(&du(&place)).is_empty(), is_left, "{answer:?}");
    }
}

#[test]
fn a_named_image_is_no_part_of_the_bound() {
    let place = Place::new(User::Me);
    build(&place, "one", 1, &["-t", "kept:1"]).ok();
    build(&place, "two", 2, &[]).ok();
    place.write("three", noise(3)).dockerfile("FROM scratch\nCOPY three /\n");
    let mut command = place.xbuild(place.build_args(&["-t", "new:1"]));
    command.env("XBUILD_MAX_USED_SPACE", "64k");
    let built = Finished::run(command).ok();
    built.says(&["store: removed ", "not used for longest"]);
    let layout = place.out("layout");
    place.run(["copy", "kept:1", &format!("oci-layout://{}", layout.display())]).ok();
    place.run(["copy", "new:1", &format!("oci-layout://{}-2", layout.display())]).ok();
    assert!(du(&place)["prunable"].as_u64().unwrap() <= 64 << 10);
    // What is removed is made again.
    build(&place, "two", 2, &["--output", &to_layout(&place.out("two"))]).ok();
}

#[test]
fn the_bound_holds_over_fifty_builds_while_another_process_builds() {
    needs!(Cores);
    let place = Place::new(User::Me);
    let bound = 8 * MIB;
    let other = place.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("Dockerfile"), "FROM scratch\nCOPY f /\n").unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut builds = 0;
            while !is_over.load(Ordering::Relaxed) {
                builds += 1;
                fs::write(other.join("f"), noise(1000 + builds)).unwrap();
                let mut command = place.xbuild(["build", other.to_str().unwrap()]);
                command.env("XBUILD_MAX_USED_SPACE", bound.to_string());
                Finished::run(command).ok();
                std::thread::sleep(Duration::from_millis(50));
            }
            builds
        });
        for seed in 0..50 {
            place.write("f", noise(seed)).dockerfile("FROM scratch\nCOPY f /\n");
            let mut command = place.xbuild(place.build_args(&[]));
            command.env("XBUILD_MAX_USED_SPACE", bound.to_string());
            Finished::run(command).ok();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 5);
    });
    place.write("f", noise(99));
    let mut command = place.xbuild(place.build_args(&[]));
    command.env("XBUILD_MAX_USED_SPACE", bound.to_string());
    Finished::run(command).ok();
    let left = du(&place)["prunable"].as_u64().unwrap();
    assert!(left <= bound, "{left} of {bound}");
    // The newest is still there.
    place.build(&[]).ok().did_nothing();
}
