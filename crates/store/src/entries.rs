//! The entries of the store's folders.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of cache folders, below the store's.
pub(crate) const CACHE_MOUNTS: &str = "cache-mounts";

/// A cache folder itself, in its home.
pub(crate) const CACHE_CONTENT: &str = "fs";

/// The hexadecimal digits of a digest.
const DIGEST: usize = 64;

/// The folder of blobs, below the store's.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// Returns the entries of a folder in the order of their names; none if it cannot be read.
pub(crate) fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut list: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    list.sort();
    list
}

/// Returns whether the store gives names like this one: `HEX`, `HEX.ENCODING` or `HEX-N`.
pub(crate) fn is_key(name: &str) -> bool {
    let (key, rest) = name.split_at_checked(64).unwrap_or((name, ""));
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    key.len() == 64 && key.bytes().all(is_hex) && (rest.is_empty() || rest.starts_with(['.', '-']))
}

/// Returns the name of an entry.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the digest in the name of an entry, as hexadecimal digits.
pub(crate) fn key_of(path: &Path) -> String {
    let name = file_name(path);
    name.get(..DIGEST).unwrap_or(&name).to_owned()
}
