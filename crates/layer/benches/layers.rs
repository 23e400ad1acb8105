//! The work on each byte of a layer: writing and reading tar, indexing, hashing, compressing. Bytes
//! a second are those of the tar stream, or of the encoded index in the rows that use one.

#![allow(clippy::unwrap_used, reason = "what is unexpected ends the measurement")]

use std::hint::black_box;
use std::io::{self, Write};
use std::time::Duration;

use criterion::{Criterion, Throughput};
use xbuild_layer::decode::decompress;
use xbuild_layer::gzip::GzipWriter;
use xbuild_layer::{Entry, LayerIndex, LayerReader, Tree, index_layer};
use xbuild_model::Digest;
use xbuild_model::manifest::Compression;
use xbuild_testkit::sample::{files, write};

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
    criterion.final_summary();
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

/// Making the index of a layer, and working with an index of the store.
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
