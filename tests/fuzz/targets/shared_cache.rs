//! Invariant: reading any bytes as a document of a shared cache ends in an error with a printable
//! message, or in a document that, written, reads back the same.
//!
//! The first byte of the input says which document it is: `r` a record, `t` the parts of a trail,
//! `i` a tree index, `m` a cache mount, anything else the manifest of a trail.

#![no_main]

use std::time::SystemTime;

use libfuzzer_sys::fuzz_target;
use xbuild_cache::{Mount, Policy, Record, Scope, Trail, TrailId, TrailManifest};
use xbuild_model::manifest::OCI_LAYER;
use xbuild_model::{Descriptor, Digest};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let scope = Scope::new("main").expect("it is a name");
    let key = Digest::of(b"key");
    let error = match kind {
        b'r' => record(bytes, &scope, &key).err(),
        b't' => trail(bytes, &scope).err(),
        b'i' => xbuild_cache::unpack_index(bytes).err(),
        b'm' => mount(bytes, &scope, &key).err(),
        _ => TrailManifest::list(bytes, &scope).err(),
    };
    if let Some(error) = error {
        assert!(error.to_string().len() < 100_000);
    }
});

fn record(
    bytes: &[u8],
    scope: &Scope,
    key: &Digest,
) -> Result<(), xbuild_cache::CacheDocumentError> {
    let mut record = Record::read(bytes, scope, key, &Policy::Any)?;
    // The bytes of tree indexes are not at hand.
    record.layers.iter_mut().for_each(|layer| layer.index = None);
    let written = record.document(scope, &vec![None; record.layers.len()], None, NOW);
    let again = Record::read(&written.bytes, scope, key, &Policy::Any);
    assert_eq!(again.expect("what is written reads back"), record);
    Ok(())
}

fn trail(bytes: &[u8], scope: &Scope) -> Result<(), xbuild_cache::CacheDocumentError> {
    let blob = Descriptor::of(OCI_LAYER, bytes);
    let trail = Trail::read(&TrailManifest { blob, name: String::new(), steps: 0 }, bytes)?;
    let platform = "linux/amd64".parse().expect("it is a platform");
    let id = TrailId::new("Dockerfile", None, &platform, &[]);
    let Ok(written) = trail.document(scope, &id, None, NOW) else { return Ok(()) };
    let manifest = TrailManifest::read(&written.bytes, scope, &id, &Policy::Any);
    let manifest = manifest.expect("what is written reads back");
    let (_, blob) =
        written.blobs.iter().find(|(blob, _)| *blob == manifest.blob).expect("it is there");
    let again = Trail::read(&manifest, blob).expect("what is written reads back");
    assert_eq!(again.records, trail.records);
    Ok(())
}

fn mount(
    bytes: &[u8],
    scope: &Scope,
    key: &Digest,
) -> Result<(), xbuild_cache::CacheDocumentError> {
    let mount = Mount::read(bytes, scope, key, &Policy::Any)?;
    let written = mount.document(scope, None, NOW);
    let again = Mount::read(&written.bytes, scope, key, &Policy::Any);
    assert_eq!(again.expect("what is written reads back"), mount);
    Ok(())
}
