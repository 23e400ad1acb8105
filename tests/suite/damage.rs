//! Files of the store that are not as they were left: bytes that a disk has changed, and what a power
//! cut leaves. A build makes or fetches them again, or says which file it lacks. It never makes
//! another image.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use xbuild_testkit::registry::{Action, Fault, Registry};
use xbuild_testkit::wire::Response;

use crate::harness::{Finished, Place, User, needs, to_layout, tool};
use crate::image;

/// Arguments that give every build the same digest.
const SAME: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];

/// The files of the store in which a build trusts, sorted. Unpacked layers, fetched files and cache
/// mounts are folders of files without a digest.
fn files(place: &Place) -> Vec<PathBuf> {
    let store = place.store();
    let kinds = ["folders", "sources", "cache-mounts", "tmp", "lock", "gate"];
    let left_out = kinds
        .iter()
        .flat_map(|kind| ["-path".into(), store.join(kind), "-prune".into(), "-o".into()]);
    let args = [store.clone()]
        .into_iter()
        .chain(left_out)
        .chain(["-type", "f", "-print"].map(PathBuf::from));
    let mut files: Vec<PathBuf> = tool("find", args).lines().map(PathBuf::from).collect();
    files.sort();
    files
}

/// Changes the bytes of a file, whatever its mode.
fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn flip(path: &Path) {
    change(path, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

fn build(place: &Place, more: &[&str]) -> Finished {
    place.build(&[&SAME, more].concat())
}

/// Builds into a new layout, verifies it, and returns how the build ended.
#[track_caller]
fn build_layout(place: &Place, more: &[&str]) -> Finished {
    let layout = place.out("layout");
    let _ = fs::remove_dir_all(&layout);
    let output = to_layout(&layout);
    let finished = build(place, &[&["--output", &output], more].concat());
    if finished.status == 0 {
        image::read(&layout);
    }
    finished
}

/// Makes a context for a build that leaves files of each kind in the store.
fn every_kind() -> Place {
    let place = Place::new(User::Me);
    for number in 0..510 {
        place.write(&format!("many/{number}"), number.to_string());
    }
    place.dockerfile(
        "
        FROM busybox AS base
        COPY Dockerfile /large
        FROM base
        COPY --from=base /bin/busybox /large /copied/
        COPY many /many/
        COPY --chown=root many/1 /one
        RUN echo a > /a && touch -d @1 /a /
        ",
    );
    // Files that are as new as the clock is fine are not remembered.
    std::thread::sleep(Duration::from_secs(3));
    place
}

#[test]
fn a_flipped_bit_in_any_file_changes_no_image() {
    needs!(Run);
    let place = every_kind();
    let args = ["-t", "name", "-o", "type=image"];
    let expected = build_layout(&place, &args).ok().stdout;
    let files = files(&place);
    for kind in
        ["blobs", "layers", "indexes", "cache", "images", "last-seen", "file-hashes", "selections"]
    {
        let folder = place.store().join(kind);
        assert!(files.iter().any(|path| path.starts_with(&folder)), "there is no file in {kind}");
    }
    for path in files {
        // An earlier build may have dropped it.
        let Ok(before) = fs::read(&path) else { continue };
        let finished = || build_layout(&place, &args);
        if path.ends_with("version") {
            fs::write(&path, "0\n").unwrap();
            finished().fails(1, &[place.store().to_str().unwrap(), "format", "--root"]);
            fs::write(&path, before).unwrap();
        } else {
            flip(&path);
            assert_eq!(finished().ok().stdout, expected, "{}", path.display());
        }
    }
}

#[test]
fn a_power_cut_loses_results_and_no_more() {
    needs!(Run);
    let place = every_kind();
    let expected = build_layout(&place, &[]).ok().stdout;
    let cuts: [fn(&mut Vec<u8>); 3] =
        [Vec::clear, |bytes| bytes.fill(0), |bytes| bytes.truncate(bytes.len() / 2)];
    for (number, cut) in cuts.iter().enumerate() {
        for path in files(&place) {
            // It is synced before the first build goes on; a cut leaves it whole or empty.
            if !path.ends_with("version") || number == 0 {
                change(&path, cut);
            }
        }
        assert_eq!(build_layout(&place, &[]).ok().stdout, expected, "{number}");
        let again = build_layout(&place, &[]).ok();
        again.did_nothing();
        again.does_not_say("damaged");
    }
}

/// A place whose base image is in a registry, with a small layer of its own on top.
fn on_registry(registry: &Registry) -> Place {
    let place = Place::new(User::Me);
    let name = format!("{}/base:1", registry.host());
    place.dockerfile("FROM busybox\n");
    build(&place, &["-t", &name, "--push"]).ok();
    place.run(["prune", "--all"]).ok();
    place.write("f", vec![b'f'; 10_000]);
    place.dockerfile(&format!("FROM {name}\nCOPY --chown=root f /f\n"));
    place
}

/// Returns the blobs of the store that hold layers, the larger ones first.
fn layer_blobs(place: &Place) -> Vec<PathBuf> {
    let blobs = fs::read_dir(place.store().join("blobs/sha256")).unwrap().flatten();
    let is_layer = |path: &PathBuf| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b]);
    let mut blobs: Vec<PathBuf> = blobs.map(|entry| entry.path()).filter(is_layer).collect();
    blobs.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    blobs
}

#[test]
fn a_damaged_blob_is_fetched_or_made_again_for_every_output() {
    let registry = Registry::start();
    let place = on_registry(&registry);
    let tag = format!("{}/app:1", registry.host());
    let (layout, file) = (place.out("layout"), place.out("file"));
    let dest = |kind: &str| format!("{kind},dest={}", file.display());
    let outputs: [&[&str]; 8] = [
        &["-o", &to_layout(&layout)],
        &["-o", &dest("type=oci")],
        &["-o", "type=oci,dest=-"],
        &["-o", &dest("type=tar")],
        &["-o", "type=tar,dest=-"],
        &["-o", &dest("type=local")],
        &["-o", &format!("{},compression=zstd,force-compression=true", dest("type=oci"))],
        &["-t", &tag, "--push"],
    ];
    for output in outputs {
        let clean = |place: &Place| {
            tool("rm", ["-rf", layout.to_str().unwrap(), file.to_str().unwrap()]);
            place.run(["prune", "--all"]).ok();
        };
        clean(&place);
        // Pulls the base, too.
        let first = build(&place, &["-o", &to_layout(&layout)]).ok().stdout;
        let blobs = layer_blobs(&place);
        assert_eq!(blobs.len(), 2);
        let contents: Vec<Vec<u8>> = blobs.iter().map(|path| fs::read(path).unwrap()).collect();
        blobs.iter().for_each(|path| flip(path));
        let _ = fs::remove_dir_all(&layout);
        let pulls = registry.count("GET", "/base/blobs/");
        let mut command = place.xbuild(place.build_args(&[&SAME, output].concat()));
        let finished = command.stderr(Stdio::piped()).output().unwrap();
        let finished = Finished::of(finished).ok();
        finished.says(&["was damaged", blobs[0].to_str().unwrap()]);
        assert!(registry.count("GET", "/base/blobs/") > pulls, "{output:?}");
        for (path, content) in blobs.iter().zip(&contents) {
            let is_sound = fs::read(path).map_or(true, |bytes| bytes == *content);
            assert!(is_sound, "{output:?}: {}", path.display());
        }
        assert_eq!(build_layout(&place, &[]).ok().stdout, first, "{output:?}");
        if output[0] == "-t" {
            let (_, top) = registry.manifest("app", "1").unwrap();
            assert!(first.contains(&image::digest(&top)));
            assert!(contents.iter().all(|blob| {
                registry.blob("app", &xbuild_model::Digest::of(blob)).as_ref() == Some(blob)
            }));
        }
    }
}

#[test]
fn a_blob_that_cannot_be_fetched_again_is_named() {
    let registry = Registry::start();
    let place = on_registry(&registry);
    build_layout(&place, &[]).ok();
    let blob = layer_blobs(&place).remove(0);
    flip(&blob);
    registry.fail(Fault::new(
        "GET",
        "/base/blobs/",
        usize::MAX,
        Action::Answer(Response::new(404)),
    ));
    let finished = build_layout(&place, &[]);
    finished.fails(70, &[blob.to_str().unwrap(), "damaged", "cause: ", "hint: "]);
}

#[test]
fn commands_on_images_say_what_to_do_about_a_damaged_blob() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    place.build(&["-t", "a:1"]).ok();
    let blob = layer_blobs(&place).remove(0);
    flip(&blob);
    let archive = place.out("a.tar");
    let save = || place.run(["save", "a:1", "-o", archive.to_str().unwrap()]);
    save().fails(70, &[blob.to_str().unwrap(), "damaged", "hint: ", "build it again"]);
    // The file is gone by then.
    save().fails(1, &["is not in the store", "hint: build or pull the image again"]);
    assert!(!archive.exists());
    place.build(&["-t", "a:1"]).ok();
    save().ok();
    // An archive whose documents are of another shape is told without names of Rust's types.
    let folder = place.out("bad");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("manifest.json"), "[1]").unwrap();
    let archive = place.out("bad.tar");
    let [from, to] = [&folder, &archive].map(|path| path.to_str().unwrap());
    tool("tar", ["-cf", to, "-C", from, "."]);
    let finished = place.run(["load", "-i", to]);
    finished.fails(1, &["manifest.json is not valid", "expected an object"]);
}

#[test]
fn a_changed_file_of_an_unpacked_layer_is_not_copied() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox AS one\nRUN echo sound > /f && touch -d @1 /f /\nFROM one\nCOPY --from=one /f /g\n");
    build_layout(&place, &[]).ok();
    let changed = tool("find", [place.store().join("folders").to_str().unwrap(), "-name", "f"]);
    fs::write(changed.trim(), "other\n").unwrap();
    place.dockerfile("FROM busybox AS one\nRUN echo sound > /f && touch -d @1 /f /\nFROM one\nCOPY --from=one /f /h\n");
    build_layout(&place, &[]).ok().says(&["was damaged"]);
    let image = image::read(&place.out("layout")).remove(0);
    assert_eq!(image.text("h"), "sound");
}

#[test]
fn a_malformed_layer_of_a_layout_is_the_fault_of_whoever_gave_it() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY --from=busybox /bin/busybox /copy\n");
    let base = place.path().join("bases/busybox/blobs/sha256");
    place.base("busybox");
    let blobs = || fs::read_dir(&base).unwrap().flatten().map(|entry| entry.path());
    let is_layer = |path: &PathBuf| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b]);
    let layers: Vec<PathBuf> = blobs().filter(is_layer).collect();
    for layer in &layers {
        // The bytes may be a link to those of other tests.
        let mut bytes = fs::read(layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(layer).unwrap();
        fs::write(layer, bytes).unwrap();
    }
    for _ in 0..2 {
        build(&place, &[]).fails(1, &["error: ", "sha256:"]);
    }
}

#[test]
fn a_store_from_the_future_is_used_and_pruned() {
    needs!(Run);
    let place = every_kind();
    let expected = build_layout(&place, &[]).ok().stdout;
    // As if the clock had gone back by decades after that build.
    let store = place.store().display().to_string();
    tool("find", [&store, "-exec", "touch", "-h", "-d", "2090-01-01", "{}", "+"]);
    let again = build_layout(&place, &[]).ok();
    again.did_nothing();
    assert_eq!(again.stdout, expected);
    // A file that was changed meanwhile is seen, with whatever time.
    place.write("many/1", "2").touch("many/1", 3_800_000_000);
    let changed = build_layout(&place, &[]).ok().stdout;
    assert_ne!(changed, expected);
    place.write("many/1", "1").touch("many/1", 3_800_000_000);
    // The time is in the layer, so the digest is a third one; the contents are right.
    build_layout(&place, &[]).ok();
    assert_eq!(image::read(&place.out("layout"))[0].text("many/1"), "1");
    place.run(["prune", "--all"]).ok();
    let own = ["measured", "version"].map(|name| place.store().join(name));
    assert_eq!(files(&place), own);
}
