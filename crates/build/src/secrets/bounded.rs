//! Files that hold secrets, read up to a limit.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a file; of a larger one than `limit` bytes only one byte more than that. It may be a pipe,
/// since shells pass the output of a command as one.
pub(super) fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
