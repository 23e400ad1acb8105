use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use xbuild_model::seam::StepCache as _;
use xbuild_model::{Descriptor, DiffId, Digest, FailureKind, StepFailure, StepRecord};
use xbuild_testkit::spans;

use crate::{GrowingBlob, ImageRecord, Room, SourceRecord, Store, StoreError};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

#[test]
fn a_blob_is_published_under_its_digest_or_not_at_all() {
    let (_folder, store) = store();
    let digest = store.put_blob(b"hello").unwrap();
    assert_eq!(digest, Digest::of(b"hello"));
    assert!(store.has_blob(&Descriptor::of("x", b"hello")));
    let mut writer = store.blob_writer().unwrap();
    writer.write_all(b"other").unwrap();
    let error = writer.commit(Some((&digest, 5))).unwrap_err();
    assert!(matches!(error, StoreError::Mismatch { .. }));
    store.settle().unwrap();
    assert_eq!(fs::read_dir(store.root().join("blobs/sha256")).unwrap().count(), 1);
}

fn step_record() -> StepRecord {
    StepRecord {
        added: Default::default(),
        created: "2026-01-01T00:00:00Z".into(),
        description: "RUN x".into(),
    }
}

#[test]
fn steps_are_found_in_the_order_of_the_keys() {
    let (_folder, store) = store();
    let [known, unknown] = [Digest::of(b"known"), Digest::of(b"unknown")];
    store.remember(&known, &step_record()).unwrap();
    let found = store.find(&[unknown, known.clone(), known]).unwrap();
    assert_eq!(found, [None, Some(step_record()), Some(step_record())]);
}

#[test]
fn a_torn_record_is_no_record() {
    let (_folder, store) = store();
    let key = Digest::of(b"key");
    let record = step_record();
    store.put_cached(&key, &record).unwrap();
    assert_eq!(store.cached(&key).unwrap(), Some(record));
    let path = store.root().join("cache").join(key.hex());
    let whole = fs::read(&path).unwrap();
    for length in [0, 10, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(store.cached(&key).unwrap(), None, "{length}");
    }
}

#[test]
fn the_layer_of_a_missing_blob_is_missing() {
    let (_folder, store) = store();
    let layer = DiffId(Digest::of(b"tar"));
    store.put_blob(b"blob").unwrap();
    store.put_layer(&layer, &Descriptor::of("x", b"blob"), None).unwrap();
    assert!(store.layer(&layer).unwrap().is_some());
    store.settle().unwrap();
    fs::remove_file(store.blob_path(&Digest::of(b"blob"))).unwrap();
    assert!(store.layer(&layer).unwrap().is_none());
}

#[test]
fn a_blob_is_read_while_it_is_written() {
    let (_folder, store) = store();
    let mut writer = store.blob_writer().unwrap();
    let mut reader = writer.watch().unwrap();
    let bytes = |reader: &mut GrowingBlob| {
        let mut bytes = [0; 3];
        reader.read_exact(&mut bytes).map(|()| bytes)
    };
    writer.write_all(b"onetwo").unwrap();
    assert_eq!(reader.wait_for(6).unwrap(), None);
    assert_eq!(bytes(&mut reader).unwrap(), *b"one");
    let late = std::thread::spawn(move || {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).map(|_| (rest, reader.wait_for(100).unwrap()))
    });
    writer.write_all(b"end").unwrap();
    let (digest, size) = writer.commit(None).unwrap();
    assert_eq!(late.join().unwrap().unwrap(), (b"twoend".to_vec(), Some((digest, size))));

    let mut writer = store.blob_writer().unwrap();
    let mut reader = writer.watch().unwrap();
    let mut again = reader.again().unwrap();
    writer.write_all(b"one").unwrap();
    assert_eq!(bytes(&mut reader).unwrap(), *b"one");
    drop(writer);
    for reader in [&mut reader, &mut again] {
        assert_eq!(bytes(reader).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}

#[test]
fn a_layer_is_found_by_the_encoding_it_was_made_in() {
    let (_folder, store) = store();
    let layer = DiffId(Digest::of(b"tar"));
    for blob in [b"first", b"other"] {
        store.put_blob(blob).unwrap();
    }
    let (first, other) = (Descriptor::of("x", b"first"), Descriptor::of("x", b"other"));
    store.put_layer(&layer, &first, Some("gzip-3")).unwrap();
    assert_eq!(store.layer(&layer).unwrap().as_ref(), Some(&first));
    assert_eq!(store.encoded(&layer, "gzip-3").unwrap().as_ref(), Some(&first));
    assert_eq!(store.encoded(&layer, "tar").unwrap(), None);
    store.put_encoded(&layer, "tar", &other).unwrap();
    assert_eq!(store.encoded(&layer, "tar").unwrap(), Some(other));
    assert_eq!(store.layer(&layer).unwrap().as_ref(), Some(&first));
    // A blob that came from elsewhere has none of our encodings.
    store.put_layer(&layer, &first, None).unwrap();
    assert_eq!(store.encoded(&layer, "gzip-3").unwrap(), None);
}

#[test]
fn the_second_of_two_equal_folders_is_dropped() {
    let (_folder, store) = store();
    let layer = DiffId(Digest::of(b"tar"));
    let publish = |text: &str| {
        let temp = store.temp_dir("unpack").unwrap();
        let content = temp.path().join("fs");
        fs::create_dir(&content).unwrap();
        fs::write(content.join("file"), text).unwrap();
        store.publish_folder(&content, "map", &layer, 0).unwrap()
    };
    let first = publish("first");
    assert_eq!(publish("second"), first);
    assert_eq!(fs::read_to_string(first.join("file")).unwrap(), "first");
    assert_eq!(store.folder("map", &layer), Some(first));
    assert_eq!(store.folder("other", &layer), None);
}

#[test]
fn folders_of_another_boot_are_retired() {
    let (folder, store) = store();
    let stale = folder.path().join("folders/01234567-89ab-cdef-0123-456789abcdef/map/layer");
    fs::create_dir_all(&stale).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert!(!stale.exists());
    assert_eq!(store.usage().last().unwrap().count, 0);
}

#[test]
fn folders_that_an_older_version_unpacked_do_not_count() {
    let (folder, store) = store();
    let layer = DiffId(Digest::of(b"layer"));
    let place = folder.path().join("folders").join(store.boot()).join("map").join(layer.0.hex());
    fs::create_dir_all(&place).unwrap();
    assert_eq!(store.folder("map", &layer), None);
    fs::create_dir_all(store.folder_path("map", &layer)).unwrap();
    assert!(store.folder("map", &layer).is_some());
    // Nobody uses the old one, and pruning finds it.
    assert!(store.folders().contains(&place));
}

#[test]
fn the_work_of_a_dead_session_is_swept_up() {
    let (folder, store) = store();
    let dead = folder.path().join("tmp/1-1");
    fs::create_dir_all(dead.join("unpack-0/deep")).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    let other = Store::open(folder.path()).unwrap();
    assert!(!dead.exists());
    assert!(store.temp_dir("x").unwrap().path().exists());
    drop(other);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 1);
}

#[test]
fn pruning_goes_on_beside_others_and_keeps_images() {
    let (folder, store) = store();
    let manifest = store.put_blob(b"{}").unwrap();
    store.put_blob(b"garbage").unwrap();
    let target = Descriptor::new("x", manifest, 2);
    store.put_image(&ImageRecord::new("a:1".into(), target.clone())).unwrap();
    let other = Store::open(folder.path()).unwrap();
    store.prune(false).unwrap();
    drop(other);
    assert!(store.has_blob(&target));
    assert_eq!(fs::read_dir(folder.path().join("blobs/sha256")).unwrap().count(), 1);
    store.prune(true).unwrap();
    assert!(!store.has_blob(&target));
    assert!(store.image("a:1").unwrap().is_none());
}

/// Puts a file with known contents below `folder` and returns its path.
fn precious(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "precious").unwrap();
    path
}

#[test]
fn a_folder_with_other_things_is_no_store_and_stays_as_it_is() {
    for name in ["tmp/1-0/lock", "folders/mine/notes", "sources/notes", "layers/notes", "notes"] {
        let folder = tempfile::tempdir().unwrap();
        let file = precious(folder.path(), name);
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{name}: {error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(file).unwrap(), "precious");
    }
}

#[test]
fn an_empty_version_heals_where_nothing_else_is() {
    let (folder, store) = store();
    drop(store);
    let version = folder.path().join("version");
    fs::write(&version, "").unwrap();
    drop(Store::open(folder.path()).unwrap());
    assert_eq!(fs::read_to_string(&version).unwrap(), "1\n");
    fs::write(&version, "").unwrap();
    precious(folder.path(), "notes");
    assert!(matches!(Store::open(folder.path()), Err(StoreError::NotAStore { .. })));
}

#[test]
fn sweeping_and_pruning_leave_what_the_store_did_not_name() {
    let (folder, store) = store();
    let files = [
        "tmp/notes",
        "tmp/mine/lock",
        "tmp/1-0/notes",
        "folders/mine/map/notes",
        "sources/mine/notes",
        "layers/notes",
        "cache/0123",
        "blobs/sha256/notes",
        "cache-mounts/map/mine/fs/notes",
    ];
    let files = files.map(|name| precious(folder.path(), name));
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.leftovers(), []);
    assert_eq!(store.prune(true).unwrap(), []);
    for file in files {
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious", "{file:?}");
    }
}

#[test]
fn links_in_a_store_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let file = precious(outside.path(), "0-0/notes");
    precious(outside.path(), "0-0/lock");
    for name in ["tmp", "layers", "folders", "blobs", "blobs/sha256"] {
        let (folder, store) = store();
        drop(store);
        let path = folder.path().join(name);
        fs::remove_dir_all(&path).unwrap();
        symlink(outside.path(), &path).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotAFolder { .. }), "{name}: {error}");
    }
    let (folder, store) = store();
    symlink(outside.path().join("0-0"), folder.path().join("tmp/1-0")).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.leftovers(), []);
    assert_eq!(fs::read_to_string(file).unwrap(), "precious");
}

#[test]
fn a_store_that_others_may_write_to_is_refused() {
    let open_up = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, mode) in [("", 0o777), ("", 0o770), ("cache", 0o702), ("tmp", 0o720)] {
        let (folder, store) = store();
        drop(store);
        open_up(&folder.path().join(name), mode);
        let error = Store::open(folder.path()).unwrap_err();
        assert!(matches!(error, StoreError::Writable { .. }), "{name} {mode:o}: {error}");
    }
    // The umask decides how open a new folder is.
    let folder = tempfile::tempdir().unwrap();
    open_up(folder.path(), 0o775);
    drop(Store::open(folder.path()).unwrap());
    assert_eq!(fs::metadata(folder.path()).unwrap().permissions().mode() & 0o777, 0o755);
}

#[test]
fn many_first_builds_make_one_store() {
    let folder = tempfile::tempdir().unwrap();
    // Some of the moments in which another build makes the store.
    for number in 0..50 {
        let root = folder.path().join(format!("new/store-{number}"));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| drop(Store::open(&root).unwrap()));
            }
        });
        assert_eq!(fs::read_to_string(root.join("version")).unwrap(), "1\n");
    }
}

#[test]
fn another_format_is_refused() {
    let (folder, store) = store();
    drop(store);
    fs::write(folder.path().join("version"), "99\n").unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Version { .. }), "{error}");
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    assert_eq!(error.kind(), FailureKind::User);
    assert!(error.hint().unwrap().contains("--root"));
}

#[test]
fn a_path_that_is_no_text_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join(OsStr::from_bytes(b"a\xff"));
    let nobody: crate::OnWait = std::sync::Arc::new(|_| {});
    for error in
        [Store::open(&root).unwrap_err(), Store::open_existing(&root, &nobody).unwrap_err()]
    {
        assert!(error.to_string().ends_with(r"/a\xff is not UTF-8"), "{error}");
        assert_eq!(error.kind(), FailureKind::User);
        assert!(error.hint().unwrap().contains("--root"));
    }
    assert!(!root.exists());
}

#[test]
fn a_file_system_that_cannot_hold_a_store_is_named() {
    for (action, errno, word) in [
        ("create", Errno::ROFS, Some("read-only")),
        ("lock", Errno::NOLCK, Some("does not lock")),
        ("lock", Errno::OPNOTSUPP, Some("does not lock")),
        ("write", Errno::OPNOTSUPP, None),
        ("write", Errno::ACCESS, None),
    ] {
        let error = || StoreError::io(action, "/store/lock")(errno.into());
        let failure = StepFailure::from(error());
        let hint = word.is_some().then(|| error().hint().unwrap());
        assert!(hint.is_none_or(|hint| hint.contains(word.unwrap()) && hint.contains("--root")));
        let kind = word.map_or(FailureKind::Internal, |_| FailureKind::Environment);
        assert_eq!((error().kind(), failure.kind()), (kind, kind), "{action} {errno}");
        assert_eq!(failure.hint().cloned(), error().hint());
    }
}

#[test]
fn a_folder_that_knows_no_case_is_no_store() {
    let (folder, store) = store();
    drop(store);
    // There, both names are one file.
    let [lower, upper] = ["version", "VERSION"].map(|name| folder.path().join(name));
    fs::hard_link(&lower, &upper).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::NoCase { .. }), "{error}");
    assert!(error.hint().is_some());
    // Two files are none of its business.
    fs::remove_file(&upper).unwrap();
    fs::write(&upper, "").unwrap();
    Store::open(folder.path()).unwrap();
}

#[test]
fn a_fetched_source_stays_until_it_is_pruned() {
    let (_folder, store) = store();
    let (key, folder) = (Digest::of(b"url"), Digest::of(b"content"));
    assert_eq!(store.source_folder(&folder), None);
    let temp = store.temp_dir("x").unwrap();
    let content = temp.path().join("fs");
    fs::create_dir(&content).unwrap();
    fs::write(content.join("f"), "text").unwrap();
    let published = store.publish_source(&content, &folder).unwrap();
    assert_eq!(store.source_folder(&folder), Some(published.clone()));
    assert_eq!(fs::read_to_string(published.join("f")).unwrap(), "text");
    let record = SourceRecord {
        folder: folder.clone(),
        etag: Some("\"1\"".to_owned()),
        last_modified: None,
        settled: false,
        url: Some(Digest::of(b"url")),
        query: None,
    };
    store.put_source_record(&key, &record).unwrap();
    assert_eq!(store.source_record(&key).unwrap(), Some(record));
    // The plain user can remove it.
    assert_eq!(store.prune(false).unwrap(), []);
    assert_eq!(store.source_folder(&folder), None);
    assert_eq!(store.source_record(&key).unwrap(), None);
}

#[test]
fn the_record_of_a_step_replaces_the_earlier_one() {
    let (_folder, store) = store();
    let key = Digest::of(b"place");
    assert_eq!(store.last_seen(&key).unwrap(), None);
    for text in ["first", "a longer one", "short"] {
        store.put_last_seen(&key, text.as_bytes()).unwrap();
        assert_eq!(store.last_seen(&key).unwrap(), Some(text.as_bytes().to_vec()));
    }
    let path = store.root().join("last-seen").join(key.hex());
    let mut torn = fs::read(&path).unwrap();
    torn.pop();
    fs::write(&path, torn).unwrap();
    assert_eq!(store.last_seen(&key).unwrap(), None);
}

#[test]
fn new_and_small_records_of_steps_outlive_a_prune() {
    let (_folder, store) = store();
    let keys: Vec<Digest> = (0..4).map(|number| Digest::of(&[number])).collect();
    for (key, size) in keys.iter().zip([1, 1, 3 << 20, 3 << 20]) {
        store.put_last_seen(key, &vec![b'x'; size]).unwrap();
    }
    let path = |key: &Digest| store.root().join("last-seen").join(key.hex());
    let hours_ago = |key, hours: u64| {
        let time = SystemTime::now() - Duration::from_secs(hours * 60 * 60);
        fs::File::open(path(key)).unwrap().set_modified(time).unwrap();
    };
    hours_ago(&keys[1], 31 * 24);
    hours_ago(&keys[2], 1);
    hours_ago(&keys[3], 2);
    store.prune(false).unwrap();
    let is_left = |key: &Digest| store.last_seen(key).unwrap().is_some();
    assert_eq!(keys.iter().map(is_left).collect::<Vec<_>>(), [true, false, true, false]);
    store.prune(true).unwrap();
    assert!(!is_left(&keys[0]));
}

#[test]
fn a_blob_has_a_span_within_that_of_its_step() {
    spans::collect();
    let (_folder, store) = store();
    tracing::info_span!("step", label = "blob test").in_scope(|| store.put_blob(b"seen")).unwrap();
    store.settle().unwrap();
    drop(store);
    let expected = format!("step label=blob test > blob digest={} size=4", Digest::of(b"seen"));
    assert!(spans::closed().contains(&expected), "{:#?}", spans::closed());
}

#[test]
fn an_entry_that_cannot_be_read_takes_nothing_from_an_image() {
    let (_folder, store) = store();
    let blob = |text: &str| serde_json::to_value(Descriptor::of("x", text.as_bytes())).unwrap();
    let put = |value: &serde_json::Value| {
        let text = value.to_string();
        store.put_blob(text.as_bytes()).unwrap();
        Descriptor::of("m", text.as_bytes())
    };
    for text in ["config", "layer"] {
        store.put_blob(text.as_bytes()).unwrap();
    }
    let manifest = put(&serde_json::json!({
        "config": blob("config"), "layers": [blob("layer")], "manifests": null,
    }));
    let entry = serde_json::to_value(&manifest).unwrap();
    let odd = serde_json::json!({ "digest": format!("sha512:{}", "0".repeat(128)) });
    let index = put(&serde_json::json!({ "layers": null, "manifests": [7, odd, entry] }));
    store.put_image(&ImageRecord::new("a:1".into(), index)).unwrap();
    store.settle().unwrap();
    let named = store.named().unwrap();
    for text in ["config", "layer"] {
        assert!(named.contains(&Digest::of(text.as_bytes()).hex()), "{text}");
    }
}

#[test]
fn what_is_unpacked_does_not_count_in_a_copy_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let layer = DiffId(Digest::of(b"layer"));
    let store = Store::open(&at("one")).unwrap();
    let temp = store.temp_dir("unpack").unwrap();
    fs::create_dir(temp.path().join("fs")).unwrap();
    store.publish_folder(&temp.path().join("fs"), "map", &layer, 0).unwrap();
    drop((temp, store));
    let copied = std::process::Command::new("cp").arg("-a").args([at("one"), at("two")]).status();
    assert!(copied.unwrap().success());
    let copy = Store::open(&at("two")).unwrap();
    assert_eq!(copy.folder("map", &layer), None);
    assert!(copy.folders().is_empty());
    // A store that is moved is the same one.
    fs::rename(at("one"), at("moved")).unwrap();
    assert!(Store::open(&at("moved")).unwrap().folder("map", &layer).is_some());
}

#[test]
fn what_nobody_has_made_in_tmp_holds_nothing_up() {
    let (folder, store) = store();
    let tmp = folder.path().join("tmp");
    fs::write(tmp.join("7-7"), "").unwrap();
    symlink("/", tmp.join("8-8")).unwrap();
    fs::create_dir(tmp.join("9-9")).unwrap();
    fs::write(tmp.join("9-9/x"), "").unwrap();
    // A session may be about to make its lock there.
    let all = Room { max_bytes: Some(0), unused_since: None };
    assert!(matches!(store.make_room(all), Err(StoreError::Busy { .. })));
    let old = SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(tmp.join("9-9")).unwrap().set_modified(old).unwrap();
    store.make_room(all).unwrap();
    Store::open(folder.path()).unwrap();
    assert!(!tmp.join("9-9").exists() && tmp.join("7-7").exists() && tmp.join("8-8").is_symlink());
}

#[test]
fn what_is_no_file_is_replaced() {
    type Make = fn(&std::path::Path);
    let makes: [Make; 2] = [
        |path| fs::create_dir(path).unwrap(),
        |path| {
            let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
            rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, 0).unwrap();
        },
    ];
    for make in makes {
        let (_folder, store) = store();
        let digest = store.put_blob(b"blob").unwrap();
        let layer = DiffId(Digest::of(b"layer"));
        let blob = Descriptor::of("x", b"blob");
        store.put_layer(&layer, &blob, None).unwrap();
        store.put_cached(&digest, &step_record()).unwrap();
        store.settle().unwrap();
        let (record, step) = (store.path("layers", &layer.0), store.path("cache", &digest));
        let odd = [store.blob_path(&digest), record, step];
        let spoil = || {
            for path in &odd {
                fs::remove_file(path).unwrap();
                make(path);
            }
        };
        spoil();
        assert!(store.open_blob(&digest).unwrap().is_none() && !store.has_blob(&blob));
        assert_eq!((store.layer(&layer).unwrap(), store.cached(&digest).unwrap()), (None, None));
        store.put_blob(b"blob").unwrap();
        store.put_layer(&layer, &blob, None).unwrap();
        store.put_cached(&digest, &step_record()).unwrap();
        store.settle().unwrap();
        assert!(store.layer(&layer).unwrap().is_some() && store.cached(&digest).unwrap().is_some());
        spoil();
        store.pins().release();
        Store::open(store.root()).unwrap().prune(true).unwrap();
        assert!(odd.iter().all(|path| path.symlink_metadata().is_err()));
    }
}
