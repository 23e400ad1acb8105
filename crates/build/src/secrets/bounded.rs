//! Files that hold secrets, read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file, or a little more than `limit` bytes of a larger one. It need not be a regular
/// file: shells give a command's output as a pipe.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
