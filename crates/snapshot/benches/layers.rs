//! What is done to each byte of a layer: writing and reading tar, indexing, hashing, compressing,
//! comparing folders. Bytes a second are those of the tar stream, never of what it is compressed
//! to; of the files where folders are compared, and of the encoded index where one is worked with.

#![allow(clippy::unwrap_used, reason = "what is unexpected ends the measurement")]

use std::hint::black_box;
use std::io::{self, Write};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tempfile::TempDir;
use xbuild_files::Root;
use xbuild_files::diff::{DiffOptions, diff};
use xbuild_files::unpack::{UnpackOptions, unpack};
use xbuild_layer::decode::decompress;
use xbuild_layer::gzip::GzipWriter;
use xbuild_layer::{
    Encoding, Entry, Kind, LayerIndex, LayerReader, LayerWriter, Meta, Mtime, Tree, index_layer,
};
use xbuild_model::Digest;
use xbuild_model::manifest::Compression;
use xbuild_snapshot::LayerSink;
use xbuild_store::Store;

/// Files of the layer; with their sizes about 17 MiB, more than all caches of a core hold.
const FILES: u64 = 2000;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    let files = files();
    let tar = write(&files, Vec::new());
    tars(&mut criterion, &files, &tar);
    indexes(&mut criterion, &tar);
    hashes(&mut criterion, &tar);
    compressors(&mut criterion, &tar);
    sinks(&mut criterion, &tar);
    diffs(&mut criterion, &files, &tar);
    criterion.final_summary();
}

/// Text that shrinks to about two fifths, as programs and sources do: a supply that is the same
/// each time. Source: Marsaglia, Xorshift RNGs.
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
            // Small numbers are the frequent words; some bytes that no compressor shortens.
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
fn files() -> Vec<(Entry, Vec<u8>)> {
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

fn write<W: Write>(files: &[(Entry, Vec<u8>)], output: W) -> W {
    let mut writer = LayerWriter::new(output);
    for (entry, contents) in files {
        writer.put(entry, &mut &contents[..]).unwrap();
    }
    writer.finish().unwrap()
}

fn bytes(count: usize) -> Throughput {
    Throughput::Bytes(count as u64)
}

fn tars(criterion: &mut Criterion, files: &[(Entry, Vec<u8>)], tar: &[u8]) {
    let mut group = criterion.benchmark_group("tar");
    group.throughput(bytes(tar.len()));
    group.bench_function("write", |bencher| bencher.iter(|| write(files, io::sink())));
    group.bench_function("read", |bencher| {
        bencher.iter(|| {
            let mut reader = LayerReader::new(tar);
            while let Some(change) = reader.next().unwrap() {
                black_box(change);
                io::copy(&mut reader, &mut io::sink()).unwrap();
            }
        });
    });
}

/// Reading the index of a layer out of it, and what is done with an index that the store has.
fn indexes(criterion: &mut Criterion, tar: &[u8]) {
    let mut group = criterion.benchmark_group("index");
    let (_, index) = index_layer(tar, None).unwrap();
    let encode = || {
        let mut bytes = Vec::new();
        index.encode(&mut bytes).unwrap();
        bytes
    };
    let encoded = encode();
    group.throughput(bytes(tar.len()));
    group.bench_function("of-tar", |bencher| bencher.iter(|| index_layer(tar, None).unwrap()));
    group.throughput(bytes(encoded.len()));
    group.bench_function("encode", |bencher| bencher.iter(encode));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| LayerIndex::decode(&encoded).unwrap());
    });
    group.bench_function("merge", |bencher| {
        let below = Tree::empty().apply(0, &index);
        bencher.iter(|| below.apply(1, &index));
    });
}

fn hashes(criterion: &mut Criterion, tar: &[u8]) {
    let mut group = criterion.benchmark_group("hash");
    group.throughput(bytes(tar.len()));
    group.bench_function("sha256", |bencher| bencher.iter(|| Digest::of(tar)));
}

/// Compressing on all cores, and decompressing.
fn compressors(criterion: &mut Criterion, tar: &[u8]) {
    let mut group = criterion.benchmark_group("compress");
    group.throughput(bytes(tar.len()));
    let gzip = |level| {
        let mut writer = GzipWriter::new(Vec::new(), level);
        writer.write_all(tar).unwrap();
        writer.finish().unwrap()
    };
    for level in [1, 3, 6, 9] {
        group.bench_function(format!("gzip-{level}"), |bencher| bencher.iter(|| gzip(level)));
    }
    let blob = gzip(3);
    group.bench_function("gunzip", |bencher| {
        bencher.iter(|| {
            let mut reader = decompress(Compression::Gzip, &blob[..]).unwrap();
            io::copy(&mut reader, &mut io::sink()).unwrap()
        });
    });
}

/// The one pass over a new layer: hash, compressor, index and the blob in a store.
fn sinks(criterion: &mut Criterion, tar: &[u8]) {
    let mut group = criterion.benchmark_group("sink");
    group.throughput(bytes(tar.len()));
    let folder = TempDir::new().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let encoding = Encoding::new(compression, None).unwrap();
        group.bench_function(encoding.to_string(), |bencher| {
            bencher.iter(|| {
                let mut sink = LayerSink::new(&store, encoding, None).unwrap();
                sink.write_all(tar).unwrap();
                sink.finish().unwrap()
            });
        });
    }
}

/// The difference of a folder: all of it new, and all of it there before.
fn diffs(criterion: &mut Criterion, files: &[(Entry, Vec<u8>)], tar: &[u8]) {
    let unpacked = || {
        let folder = TempDir::new().unwrap();
        let root = Root::open(folder.path()).unwrap();
        unpack(LayerReader::new(tar), &root, UnpackOptions { single_id: true }).unwrap();
        (folder, root)
    };
    let ((_upper, upper), (_lower, lower)) = (unpacked(), unpacked());
    let lower = [lower];
    let stat = upper.stat(b"").unwrap();
    let options = DiffOptions { root: (stat.mode, stat.uid, stat.gid), ..DiffOptions::default() };
    let mut group = criterion.benchmark_group("diff");
    group.throughput(bytes(files.iter().map(|(_, contents)| contents.len()).sum()));
    for (name, lowers) in [("all-new", &[][..]), ("nothing-new", &lower[..])] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut writer = LayerWriter::new(io::sink());
                diff(&upper, lowers, &mut writer, &options).unwrap();
                writer.finish().unwrap();
            });
        });
    }
}
