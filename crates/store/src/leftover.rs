//! Folders that are left to remove.

use std::path::PathBuf;

/// A folder whose files may belong to ids of a user namespace: the plain user cannot remove it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The path of the folder.
    pub path: PathBuf,
    /// Whether all files are this user's.
    pub(crate) is_plain: bool,
}
