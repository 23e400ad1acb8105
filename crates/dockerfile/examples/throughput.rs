//! The speed of parsing: `cargo run --release --example throughput FILE...` reads each file a
//! hundred times, then all of them as one long file, and prints megabytes a second.

use std::time::Instant;
use std::{env, fs};

use xbuild_dockerfile::parse;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    for path in env::args_os().skip(1) {
        files.push(fs::read(path)?);
    }
    // Directives count only at the top of a file. Below another file they are comments, so files
    // with another escape character or a byte order mark would not parse.
    let plain = files
        .iter()
        .filter(|text| !text.starts_with(b"# escape") && !text.starts_with("\u{feff}".as_bytes()));
    let long: Vec<u8> = plain.flat_map(|text| [text.as_slice(), b"\n"].concat()).collect();
    let long = long.repeat(100);
    measure("each by itself", &vec![files.clone(); 100].concat());
    measure("as one long file", &[long]);
    Ok(())
}

fn measure(what: &str, files: &[Vec<u8>]) {
    let start = Instant::now();
    let read = files.iter().filter(|text| parse("Dockerfile", text).is_ok()).count();
    let seconds = start.elapsed().as_secs_f64();
    let bytes: usize = files.iter().map(Vec::len).sum();
    let lines: usize = files.iter().flatten().filter(|&&byte| byte == b'\n').count();
    let speed = bytes as f64 / 1e6 / seconds;
    println!(
        "{what}: {bytes} bytes, {lines} lines, {read} of {} read: {speed:.0} MB/s",
        files.len()
    );
}
