//! Invariant: reading any bytes as a layer ends in an error, or in changes such that
//! - every path is clean, and no path goes through a symbolic link that the layer put before it;
//! - a file has exactly the bytes that it announces;
//! - the entries, written again, read back unchanged;
//! - the tree of the layer has the last entry, and no path of it is longer than allowed;
//! - reading the same bytes raw finds at least as many entries.
//!
//! Corpus: `cargo run --example seeds -- corpus/tar_reader`.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use xbuild_layer::{Change, Kind, LayerIndex, LayerReader, LayerWriter, TarReader, Tree, path};

/// Larger files are neither read nor written again: holes can make them huge.
const MAX_FILE: u64 = 1 << 20;

/// Bytes of a block.
const BLOCK: usize = 512;

/// Corrects the checksums of blocks that look like headers: a fuzzer does not find them by chance.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut archive = bytes.to_vec();
    for block in archive.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar"))
    {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    archive
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &with_checksums(bytes)[..];
    let mut layer = LayerReader::new(bytes);
    let mut writer = LayerWriter::new(Vec::new());
    let mut written = Vec::new();
    let mut changes = Vec::new();
    while let Ok(Some(change)) = layer.next() {
        changes.push(change.clone());
        match change {
            Change::Whiteout(path) | Change::Opaque(path) => path::check(&path).unwrap(),
            Change::Put(mut entry) => {
                path::check(&entry.path).unwrap();
                let mut contents = Vec::new();
                if let Kind::File { size } = entry.kind {
                    if size > MAX_FILE {
                        continue;
                    }
                    if layer.read_to_end(&mut contents).is_err() {
                        return;
                    }
                    assert_eq!(contents.len() as u64, size);
                }
                entry.meta.mtime.nanos = 0;
                entry.meta.mtime.secs = entry.meta.mtime.secs.max(-i64::MAX);
                entry.meta.xattrs.clear();
                writer.put(&entry, &mut &contents[..]).unwrap();
                written.push((entry, contents));
            }
        }
    }

    let archive = writer.finish().unwrap();
    let mut again = LayerReader::new(&archive[..]);
    for (entry, contents) in written {
        assert_eq!(again.next().unwrap(), Some(Change::Put(entry)));
        let mut same = Vec::new();
        again.read_to_end(&mut same).unwrap();
        assert_eq!(same, contents);
    }
    assert_eq!(again.next().unwrap(), None);

    let mut raw = TarReader::new(bytes);
    let mut entries = 0;
    while let Ok(Some(_)) = raw.next() {
        entries += 1;
    }
    assert!(entries >= changes.len());

    let with_hashes = changes.iter().cloned().map(|change| (change, None)).collect();
    if let Ok(index) = LayerIndex::new(with_hashes) {
        let mut encoded = Vec::new();
        index.encode(&mut encoded).unwrap();
        assert_eq!(LayerIndex::decode(&encoded).unwrap(), index);
        let tree = Tree::empty().apply(0, &index);
        for (path, _) in tree.walk(b"") {
            path::check(&path).unwrap();
        }
        if let Some(Change::Put(entry)) = changes.last() {
            let node = tree.lookup(&entry.path).unwrap();
            assert!(matches!(entry.kind, Kind::HardLink { .. }) || node.kind == entry.kind);
        }
    }
});
