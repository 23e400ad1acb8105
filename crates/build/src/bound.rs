//! The bound on the store: how much it may take up.

use std::path::Path;

/// The most bytes that the default bound gives.
const MOST: u64 = 20 << 30;

/// The part of the disk that the default bound gives: a tenth.
const PART: u64 = 10;

/// How much the items of a store may take up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bound {
    /// A tenth of the disk, at most 20 GiB.
    #[default]
    Default,
    /// That many bytes.
    Bytes(u64),
    /// Anything.
    None,
}

impl Bound {
    /// Returns the bound in bytes for the store in a folder, which need not be there yet; `None` if there
    /// is none.
    pub fn bytes(self, store: &Path) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::None => None,
            Self::Default => {
                // A file system that does not tell its size has no tenth.
                let mut folders = store.ancestors();
                let disk = folders.find_map(|folder| rustix::fs::statvfs(folder).ok())?;
                let bytes = disk.f_blocks.saturating_mul(disk.f_frsize);
                Some((bytes / PART).min(MOST))
            }
        }
    }
}
