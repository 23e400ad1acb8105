//! Invariant: whatever a file of the store holds, reading it as a record ends in no record or in one
//! that, written again, reads back the same.
//!
//! The first byte of the input says which record, and whether the file has the right seal; the rest
//! is the file.

#![no_main]

use std::fmt::Debug;
use std::fs;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use xbuild_model::{DiffId, Digest};
use xbuild_store::Store;

/// The store, in memory if the machine has such a folder, since each input writes files.
fn store() -> &'static Store {
    static STORE: OnceLock<(tempfile::TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.expect("there is a folder for temporary files");
        let store = Store::open(&folder.path().join("store")).expect("the folder is new");
        (folder, store)
    });
    store
}

/// Puts the seal of the store before the bytes of a record.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    [Digest::of(bytes).hex().as_bytes(), b"\n", bytes].concat()
}

/// Compares what was read with what is read after it was written.
fn check<T: PartialEq + Debug, E: Debug>(
    read: impl Fn() -> Result<Option<T>, E>,
    write: impl FnOnce(&T) -> Result<(), E>,
) {
    let Some(found) = read().expect("the file can be read") else { return };
    write(&found).expect("the file can be written");
    assert_eq!(read().expect("the file can be read"), Some(found));
}

fuzz_target!(|input: &[u8]| {
    let Some((&way, bytes)) = input.split_first() else { return };
    let store = store();
    let key = Digest::of(b"key");
    let bytes = if way & 8 == 0 { sealed(bytes) } else { bytes.to_vec() };
    let put = |kind: &str, name: &str| {
        fs::write(store.root().join(kind).join(name), &bytes).expect("the store takes files");
    };
    match way & 7 {
        0 => {
            put("cache", &key.hex());
            check(|| store.cached(&key), |record| store.put_cached(&key, record));
        }
        1 => {
            put("selections", &key.hex());
            check(|| store.selection(&key), |record| store.put_selection(&key, record));
        }
        2 => {
            put("images", &Digest::of(b"name").hex());
            let found = store.image("name").expect("the file can be read");
            if let Some(record) = found {
                store.put_image(&record).expect("the file can be written");
                assert_eq!(store.image(&record.name).expect("can be read"), Some(record));
            }
        }
        3 => {
            put("source-records", &key.hex());
            check(|| store.source_record(&key), |record| store.put_source_record(&key, record));
        }
        4 => {
            put("layers", &key.hex());
            let layer = DiffId(key.clone());
            // No blob is here, so no record of a layer counts.
            assert_eq!(store.layer(&layer).expect("the file can be read"), None);
            put("layers", &format!("{}.gzip", key.hex()));
            assert_eq!(store.encoded(&layer, "gzip").expect("the file can be read"), None);
        }
        5 => {
            put("indexes", &key.hex());
            let layer = DiffId(key.clone());
            check(
                || store.index(&layer),
                |index| store.put_index(&layer, |out| out.write_all(index)),
            );
        }
        _ => {
            put("last-seen", &key.hex());
            check(|| store.last_seen(&key), |bytes| store.put_last_seen(&key, bytes));
        }
    }
});
