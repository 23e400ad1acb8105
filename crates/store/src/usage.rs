//! Measuring the space that folders take up.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::entries::children;

/// The space that one kind of content takes up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// `blobs`, `folders` and so on.
    pub kind: &'static str,
    /// The number of items.
    pub count: u64,
    /// Bytes on disk (allocated blocks; hard links counted once for each name).
    pub bytes: u64,
    /// When one of them was last used; `None` if there are no items.
    pub last_used: Option<SystemTime>,
}

/// Returns the space that all files below these paths take up.
pub(crate) fn usage(kind: &'static str, paths: Vec<PathBuf>) -> Usage {
    let mut total = Usage { kind, count: paths.len() as u64, bytes: 0, last_used: None };
    let mut queue: BTreeMap<PathBuf, ()> = paths.into_iter().map(|path| (path, ())).collect();
    while let Some((path, ())) = queue.pop_first() {
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        total.bytes += meta.blocks() * 512;
        total.last_used = total.last_used.max(meta.modified().ok());
        if meta.is_dir() {
            queue.extend(children(&path).into_iter().map(|path| (path, ())));
        }
    }
    total
}
