//! The diff of a folder whose files are all new, and of one whose files all existed before. Bytes a
//! second are those of the files.

#![allow(clippy::unwrap_used, reason = "what is unexpected ends the measurement")]

use std::io;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tempfile::TempDir;
use xbuild_files::Root;
use xbuild_files::diff::{DiffOptions, diff};
use xbuild_files::unpack::unpack;
use xbuild_layer::{Entry, LayerReader, LayerWriter};
use xbuild_model::records::Owners;
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
    diffs(&mut criterion, &files, &tar);
    criterion.final_summary();
}

fn diffs(criterion: &mut Criterion, files: &[(Entry, Vec<u8>)], tar: &[u8]) {
    let unpacked = || {
        let folder = TempDir::new().unwrap();
        let root = Root::open(folder.path()).unwrap();
        unpack(LayerReader::new(tar), &root, Owners::Recorded).unwrap();
        (folder, root)
    };
    let ((_upper, upper), (_lower, lower)) = (unpacked(), unpacked());
    let lower = [lower];
    let stat = upper.stat(b"").unwrap();
    let options = DiffOptions { root: (stat.mode, stat.uid, stat.gid), ..DiffOptions::default() };
    let mut group = criterion.benchmark_group("diff");
    group.throughput(Throughput::Bytes(
        files.iter().map(|(_, contents)| contents.len() as u64).sum(),
    ));
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
