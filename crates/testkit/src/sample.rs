//! A layer for measurements: the same bytes each time.

#![allow(clippy::unwrap_used, reason = "writing to memory does not fail")]

use std::io::Write;

use xbuild_layer::{Entry, Kind, LayerWriter, Meta, Mtime};

/// Number of files in the layer, about 17 MiB: more than all caches of a core hold.
const FILES: u64 = 2000;

/// An endless text, the same each time, that compresses to about two fifths, as programs and
/// sources do. **Source** — Marsaglia, Xorshift RNGs.
struct Supply(u64);

impl Supply {
    fn number(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size + 16);
        while bytes.len() < size {
            // Small numbers are frequent words; other bytes no compressor shortens.
            let word = self.number(5000).min(self.number(5000));
            write!(bytes, "{:x} ", word * 0x9e37_79b9).unwrap();
            if word.is_multiple_of(8) {
                bytes.extend(self.number(u64::MAX).to_le_bytes());
            }
        }
        bytes.truncate(size);
        bytes
    }
}

/// Returns the files of a layer with their contents: many small ones, a few large ones.
pub fn files() -> Vec<(Entry, Vec<u8>)> {
    let mut supply = Supply(1);
    let meta =
        Meta { mode: 0o644, mtime: Mtime { secs: 1_577_836_800, nanos: 0 }, ..Meta::default() };
    let mut files = Vec::new();
    for number in 0..FILES {
        if number.is_multiple_of(40) {
            let meta = Meta { mode: 0o755, ..meta.clone() };
            let path = format!("usr/lib/folder-{}", number / 40).into_bytes();
            files.push((Entry { path, kind: Kind::Dir, meta }, Vec::new()));
        }
        let size = match number % 100 {
            0 => 400_000 + supply.number(100_000),
            _ => supply.number(8000),
        };
        let contents = supply.bytes(size as usize);
        let path = format!("usr/lib/folder-{}/file-{number}.so", number / 40).into_bytes();
        files.push((Entry { path, kind: Kind::File { size }, meta: meta.clone() }, contents));
    }
    files
}

/// Writes the files as a layer.
pub fn write<W: Write>(files: &[(Entry, Vec<u8>)], output: W) -> W {
    let mut writer = LayerWriter::new(output);
    for (entry, contents) in files {
        writer.put(entry, &mut &contents[..]).unwrap();
    }
    writer.finish().unwrap()
}
