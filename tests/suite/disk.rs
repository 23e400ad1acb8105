//! The room that the store takes up: `du`, `prune`, and the bound that builds keep.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Finished, Place, Typed, User, is_root, needs, to_layout};
use crate::image;

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
    place.run(["du", "--verbose"]).ok().prints(&["COPY three /", "layer ", "under the bound"]);

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

/// Who cannot read what is to stay removes nothing.
#[test]
fn unreadable_names_of_images_cost_no_image() {
    // Root reads everything.
    let user = User::all().into_iter().find(|user| *user != User::Me || !is_root());
    let Some(user) = user else { return };
    let place = Place::new(user);
    build(&place, "one", 1, &["-t", "a:1"]).ok();
    let images = place.store().join("images");
    let close = |mode| fs::set_permissions(&images, fs::Permissions::from_mode(mode)).unwrap();
    close(0);
    for args in [&["prune", "--force", "--max-used-space", "0"][..], &["images"], &["du"]] {
        let done = place.run(args);
        assert!(done.status != 0 && done.stderr.contains("images"), "{}", done.stderr);
    }
    close(0o700);
    place.run(["save", "-o", &place.out("a.tar").display().to_string(), "a:1"]).ok();
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

/// Builds a folder, and keeps a bound on the store.
fn bounded(place: &Place, context: &Path, args: &[&str], bound: u64) -> Finished {
    let mut command = place.xbuild(["build", "--build-context", &place.base("busybox")]);
    command.args(args).arg(context).env("XBUILD_MAX_USED_SPACE", bound.to_string());
    Finished::run(command).ok()
}

#[test]
fn the_bound_holds_at_any_time_while_another_process_builds() {
    needs!(Run, Cores);
    let place = Place::new(User::Me);
    let bound = 8 * MIB;
    // Made before both threads look for it.
    place.base("busybox");
    let context = |name: &str, dockerfile: &str| {
        let folder = place.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
        folder
    };
    let one = context("one", "FROM busybox\nCOPY f /\nRUN cp /f /g && echo x >> /g\n");
    let other = context("other", "FROM busybox\nCOPY f /\nRUN cat /f > /h && rm /f\n");
    let (is_over, most_pinned) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut builds = 0;
            while !is_over.load(Ordering::Relaxed) {
                builds += 1;
                let noise = noise(1000 + builds);
                fs::write(other.join("f"), &noise).unwrap();
                let layout = other.join("layout");
                let to = to_layout(&layout);
                bounded(&place, &other, &["--output", &to], bound);
                let files = image::read(&layout).remove(0).files();
                assert!(files["h"].content[..] == noise && !files.contains_key("f"));
                fs::remove_dir_all(layout).unwrap();
            }
            builds
        });
        for seed in 0..50 {
            let noise = noise(seed);
            fs::write(one.join("f"), &noise).unwrap();
            let layout = place.out("layout");
            let to = to_layout(&layout);
            bounded(&place, &one, &["--output", &to], bound);
            if seed % 10 == 0 {
                bounded(&place, &one, &["-t", "kept:0"], bound);
            }
            let files = image::read(&layout).remove(0).files();
            assert!(files["f"].content[..] == noise && files["g"].content.len() as u64 == MIB + 2);
            fs::remove_dir_all(layout).unwrap();
            let known = du(&place);
            let left = known["prunable"].as_u64().unwrap();
            assert!(left <= bound, "{left} of {bound} after {seed}: {known:#}");
            most_pinned.fetch_max(known["pinned"].as_u64().unwrap(), Ordering::Relaxed);
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(others.join().unwrap() > 5);
    });
    assert!(most_pinned.into_inner() > 0, "nothing was in use");
    let known = du(&place);
    assert_eq!(known["pinned"], 0, "{known:#}");
    assert!(known["images"].as_u64().unwrap() > 2 * MIB, "{known:#}");
    // The newest is still there, unless the other process has made more since, and the images are whole.
    bounded(&place, &one, &[], bound);
    bounded(&place, &one, &["--progress", "plain"], bound).did_nothing();
    let layout = place.out("kept");
    place.run(["copy", "kept:0", &format!("oci-layout://{}", layout.display())]).ok();
    assert_eq!(image::read(&layout)[0].entry("f").content[..], noise(40));
}

#[test]
fn builds_that_are_killed_leave_no_pin_and_no_wrong_total() {
    needs!(Run);
    let place = Place::new(User::Me);
    let bound = 4 * MIB;
    place.dockerfile("FROM busybox\nCOPY f /\nRUN cat /f /f > /g\n");
    for seed in 0..12_u64 {
        place.write("f", noise(seed));
        let mut command = place.xbuild(place.build_args(&[]));
        command.env("XBUILD_MAX_USED_SPACE", bound.to_string());
        let mut build = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(20 + 25 * seed));
        build.kill().unwrap();
        build.wait().unwrap();
    }
    // The first one that ends looks at all files.
    place.write("f", noise(99));
    bounded(&place, &place.context(), &[], bound);
    let known = du(&place);
    assert_eq!(known["pinned"], 0, "{known:#}");
    assert!(known["prunable"].as_u64().unwrap() <= bound, "{known:#}");
}

#[test]
fn prune_runs_beside_a_build_and_takes_nothing_from_it() {
    needs!(Run);
    let place = Place::new(User::Me);
    build(&place, "one", 1, &[]).ok();
    place.write("f", noise(2));
    place.dockerfile(
        "
        FROM busybox AS base
        COPY f /
        FROM base
        RUN echo a > /a
        RUN --mount=type=cache,target=/c touch /c/here; while [ ! -e /c/go ]; do sleep 0.05; done; \
            cat /f /a > /b
        ",
    );
    let layout = place.out("layout");
    let mut command = place.xbuild(place.build_args(&["--output", &to_layout(&layout)]));
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mounts = place.store().join("cache-mounts");
    let inner = |folder: &Path| -> Option<PathBuf> {
        Some(fs::read_dir(folder).ok()?.next()?.ok()?.path())
    };
    let mount = || Some(inner(&inner(&mounts)?)?.join("fs"));
    let deadline = Instant::now() + Duration::from_secs(60);
    let mount = loop {
        match mount().filter(|mount| mount.join("here").exists()) {
            Some(mount) => break mount,
            None => assert!(Instant::now() < deadline, "the step does not start"),
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(du(&place)["pinned"].as_u64().unwrap() >= MIB);
    place.run(["du", "--verbose"]).ok().prints(&["in use by builds", "(in use)"]);
    for args in [&["--max-used-space", "0"][..], &["--all"], &["--filter", "until=0s"]] {
        place.run([&["prune"], args].concat()).ok();
    }
    assert!(du(&place)["pinned"].as_u64().unwrap() >= MIB);
    assert!(!names(&du(&place)).iter().any(|name| name.contains("COPY one")));
    fs::write(mount.join("go"), "").unwrap();
    assert!(running.wait().unwrap().success());
    assert_eq!(image::read(&layout)[0].entry("b").content.len() as u64, MIB + 2);
    // Its steps are still in the cache.
    place.build(&[]).ok().did_nothing();
}

#[test]
fn commands_that_only_look_make_no_store() {
    let place = Place::new(User::Me);
    let (missing, empty) = (place.out("missing"), place.out("empty"));
    fs::create_dir(&empty).unwrap();
    let archive = place.out("archive.tar").display().to_string();
    for root in [&missing, &empty] {
        let run = |args: &[&str]| {
            place.run(args.iter().copied().chain(["--root", root.to_str().unwrap()]))
        };
        run(&["images"]).ok().prints(&["NAME"]);
        run(&["images", "--format", "json"]).ok().prints(&["[]"]);
        run(&["du"]).ok().prints(&["not there yet", "under the bound"]);
        run(&["du", "--verbose", "--format", "json"]).ok().prints(&["\"bytes\": 0"]);
        for args in [&["prune"][..], &["prune", "--all", "--force"]] {
            run(args).ok().prints(&["removed 0 B"]);
        }
        run(&["prune", "--dry-run"]).ok().prints(&["would remove 0 B"]);
        run(&["emulators", "ls"]).ok();
        run(&["emulators", "rm", "arm64"]).fails(1, &["no emulator for arm64"]);
        run(&["emulators", "rm", "--all"]).ok();
        for args in [
            &["tag", "app:1", "app:2"][..],
            &["rmi", "app:1"],
            &["save", "app:1", "-o", &archive],
            &["push", "app:1"],
            &["manifest", "push", "app:1"],
        ] {
            run(args).fails(1, &["app:1"]);
        }
        run(&["manifest", "exists", "app:1"]).fails(1, &["no list app:1"]);
        run(&["platforms"]).ok();
        run(&["inspect", "oci-layout:///none"]).fails(1, &["/none"]);
    }
    assert!(!missing.exists(), "{}", missing.display());
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    assert!(!Path::new(&archive).exists());
}
