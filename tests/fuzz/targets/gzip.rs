//! Invariant: what the gzip writer makes
//! - is a chain of members, each with its own length in the extra field `XB`;
//! - decompresses to what was written, and does not depend on how it was written;
//! - with any bytes changed, decompresses to an error, or to the same.
//!
//! Any bytes decompress to an error or within the bound, as gzip and as Zstandard.
//!
//! The first byte is the level, the second the number of changes, the next three of each change its
//! place and value. Each further pair of bytes is a run: a byte, and 2^n times of it.

#![no_main]

use std::io::{Read, Write};

use libfuzzer_sys::fuzz_target;
use xbuild_layer::decode::decompress;
use xbuild_layer::gzip::GzipWriter;
use xbuild_model::manifest::Compression;

/// Bytes of a block.
const BLOCK: usize = 1 << 20;

/// Bytes that an input may stand for.
const MAX: usize = 3 * BLOCK + BLOCK / 2;

/// The first bytes of a member, up to the extra field's value.
const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'X', b'B', 4, 0];

fn unpack(compression: Compression, blob: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    // Beyond this, an input of the fuzzer's size is a bomb that is only slow.
    let limit = 4 * MAX as u64;
    decompress(compression, blob).ok()?.take(limit).read_to_end(&mut out).ok()?;
    Some(out)
}

fn write(level: u32, bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new(), level);
    for piece in bytes.chunks(piece) {
        writer.write_all(piece).expect("a list takes all bytes");
    }
    writer.finish().expect("a list takes all bytes")
}

fuzz_target!(|input: &[u8]| {
    let _ = unpack(Compression::Gzip, input);
    let _ = unpack(Compression::Zstd, input);
    let [level, count, rest @ ..] = input else { return };
    let (level, count) = (u32::from(level % 10), usize::from(count % 4));
    let Some((changes, runs)) = rest.split_at_checked(3 * count) else { return };
    let mut bytes = Vec::new();
    for run in runs.chunks_exact(2) {
        let length = 1_usize << (run[1] % 21);
        bytes.resize((bytes.len() + length).min(MAX), run[0]);
    }
    let mut blob = write(level, &bytes, MAX);
    assert!(blob == write(level, &bytes, BLOCK / 3 + rest.len()));

    let (mut rest, mut members) = (&blob[..], 0);
    while !rest.is_empty() {
        assert_eq!(rest[..HEADER.len()], HEADER);
        let length = u32::from_le_bytes(rest[16..20].try_into().expect("four bytes"));
        rest = &rest[length as usize..];
        members += 1;
    }
    assert_eq!(members, bytes.len().div_ceil(BLOCK).max(1));
    assert!(unpack(Compression::Gzip, &blob).expect("it is whole") == bytes);

    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % blob.len();
        blob[at] ^= change[2];
    }
    if let Some(found) = unpack(Compression::Gzip, &blob) {
        assert!(found == bytes, "a changed blob reads as another");
    }
});
