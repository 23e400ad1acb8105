use std::fs;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags};
use xbuild_model::{Descriptor, DiffId};

use super::*;
use crate::{ImageRecord, Room, Store};

const NOTHING: Room = Room { max_bytes: Some(0), unused_since: None };

fn open(folder: &tempfile::TempDir) -> Store {
    Store::open(folder.path()).unwrap()
}

/// Stores a layer and returns its diff ID and the descriptor of its blob.
fn put(store: &Store, text: &str) -> (DiffId, Descriptor) {
    let blob = Descriptor::of("x", text.as_bytes());
    let layer = DiffId(Digest::of(format!("layer {text}").as_bytes()));
    store.put_blob(text.as_bytes()).unwrap();
    store.put_layer(&layer, &blob, None).unwrap();
    store.settle().unwrap();
    (layer, blob)
}

fn is_there(store: &Store, blob: &Descriptor) -> bool {
    store.blob_path(&blob.digest).exists()
}

#[test]
fn what_an_open_store_uses_stays_and_goes_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let pruner = open(&folder);
    let [made, found] = ["made", "found"].map(|text| put(&open(&folder), text));
    let user = open(&folder);
    assert!(user.layer(&found.0).unwrap().is_some());
    let (unpacked, blob) = put(&user, "unpacked");
    let temp = user.temp_dir("unpack").unwrap();
    fs::create_dir(temp.path().join("fs")).unwrap();
    let unpacked = user.publish_folder(&temp.path().join("fs"), "map", &unpacked, 0).unwrap();
    let items = pruner.items().unwrap();
    assert_eq!(items.iter().filter(|item| item.is_pinned).count(), 2, "{items:#?}");

    let (removed, _) = pruner.make_room(NOTHING).unwrap();
    assert_eq!(removed.len(), 1);
    assert!(!is_there(&pruner, &made.1) && is_there(&pruner, &found.1) && is_there(&pruner, &blob));
    pruner.prune(true).unwrap();
    assert!(user.layer(&found.0).unwrap().is_some() && unpacked.exists());
    drop(user);
    assert_eq!(pruner.make_room(NOTHING).unwrap().0.len(), 2);
    assert!(!is_there(&pruner, &found.1) && !unpacked.exists());
}

#[test]
fn an_image_in_use_stays_with_all_its_parts_even_without_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let (user, pruner) = (open(&folder), open(&folder));
    let config = Descriptor::of("c", b"config");
    let (_, layer) = put(&pruner, "layer");
    let manifest = format!(
        r#"{{"config":{},"layers":[{}]}}"#,
        serde_json::to_string(&config).unwrap(),
        serde_json::to_string(&layer).unwrap()
    );
    for bytes in ["config", &manifest] {
        pruner.put_blob(bytes.as_bytes()).unwrap();
    }
    let target = Descriptor::of("m", manifest.as_bytes());
    pruner.put_image(&ImageRecord::new("a:1".into(), target.clone())).unwrap();
    pruner.settle().unwrap();
    assert!(user.image("a:1").unwrap().is_some());
    pruner.prune(true).unwrap();
    assert!(user.image("a:1").unwrap().is_none());
    assert!([&target, &config, &layer].iter().all(|blob| is_there(&user, blob)));
    drop(user);
    pruner.prune(true).unwrap();
    assert!(![&target, &config, &layer].iter().any(|blob| is_there(&pruner, blob)));
}

#[test]
fn nothing_goes_beside_a_process_that_does_not_say_what_it_uses() {
    let folder = tempfile::tempdir().unwrap();
    let (old, pruner) = (open(&folder), open(&folder));
    let (_, blob) = put(&pruner, "text");
    // An older xbuild, whose lock file is empty.
    old.pins().lock().file.set_len(0).unwrap();
    assert!(matches!(pruner.make_room(NOTHING), Err(StoreError::Busy { .. })));
    assert!(matches!(pruner.prune(true), Err(StoreError::Busy { .. })));
    assert!(pruner.items().unwrap().iter().all(|item| item.is_pinned));
    assert!(is_there(&pruner, &blob));
    drop(old);
    assert_eq!(pruner.make_room(NOTHING).unwrap().0.len(), 1);
}

#[test]
fn without_room_for_a_pin_everything_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let file = File::from(rustix::fs::memfd_create("full", MemfdFlags::ALLOW_SEALING).unwrap());
    (&file).write_all(HEADER).unwrap();
    rustix::fs::fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    store.pins().lock().file = file;
    store.pin(&Digest::of(b"x")).unwrap();
    let own = store.pins().lock();
    assert_eq!((own.file.metadata().unwrap().len(), &own.keys), (0, &None));
}

#[test]
fn pins_that_are_given_up_are_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (user, pruner) = (open(&folder), open(&folder));
    let (layer, blob) = put(&user, "text");
    user.pins().release();
    assert_eq!(pruner.pins().of_others(), Pinned::Keys(HashSet::new()));
    assert!(user.layer(&layer).unwrap().is_some());
    assert_eq!(pruner.make_room(NOTHING).unwrap().0.len(), 0);
    assert!(is_there(&user, &blob));
}

#[test]
fn what_a_user_has_found_never_goes_missing() {
    const TEXTS: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let (is_over, found, made) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let removed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for first in 0..2 {
            let (folder, is_over, found, made) = (&folder, &is_over, &found, &made);
            scope.spawn(move || {
                let mut round = first;
                while !is_over.load(Ordering::Relaxed) {
                    let store = open(folder);
                    for number in 0..TEXTS {
                        round += 1;
                        let text = format!("text {}", (round * 7 + number) % TEXTS);
                        let layer = DiffId(Digest::of(format!("layer {text}").as_bytes()));
                        let count = match store.layer(&layer).unwrap() {
                            Some(_) => found,
                            None => {
                                put(&store, &text);
                                made
                            }
                        };
                        count.fetch_add(1, Ordering::Relaxed);
                        // All that was found or made in this round is there.
                        let blob = store.layer(&layer).unwrap().expect("the layer is gone");
                        let mut bytes = Vec::new();
                        let file = store.open_sound(&blob.digest).unwrap();
                        file.expect("the blob is gone").read_to_end(&mut bytes).unwrap();
                        assert_eq!(bytes, text.as_bytes());
                    }
                    store.settle().unwrap();
                }
            });
        }
        let begin = Instant::now();
        let mut number = 0;
        while begin.elapsed() < Duration::from_secs(3) {
            number += 1;
            let store = open(&folder);
            match number % 8 {
                0 => drop(store.prune(number % 16 == 0).unwrap()),
                1..4 => drop(store.keep_within(0).unwrap()),
                _ => {
                    let count = store.make_room(NOTHING).unwrap().0.len() as u64;
                    removed.fetch_add(count, Ordering::Relaxed);
                }
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let counts = [&found, &made, &removed].map(|count| count.load(Ordering::Relaxed));
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
}
