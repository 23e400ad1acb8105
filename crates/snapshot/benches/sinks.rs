//! The one pass over a new layer: hash, compressor, index and the blob in a store. Bytes a second are
//! those of the tar stream.

#![allow(clippy::unwrap_used, reason = "what is unexpected ends the measurement")]

use std::io::Write as _;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tempfile::TempDir;
use xbuild_layer::Encoding;
use xbuild_model::manifest::Compression;
use xbuild_snapshot::LayerSink;
use xbuild_store::Store;
use xbuild_testkit::sample::{files, write};

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    let tar = write(&files(), Vec::new());
    sinks(&mut criterion, &tar);
    criterion.final_summary();
}

fn sinks(criterion: &mut Criterion, tar: &[u8]) {
    let mut group = criterion.benchmark_group("sink");
    group.throughput(Throughput::Bytes(tar.len() as u64));
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
