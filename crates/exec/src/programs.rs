//! Looking programs up.

use std::ffi::OsStr;
use std::path::PathBuf;

/// Returns the path of a program in the folders of `search_path`, which is in the form of `PATH`.
/// Relative folders do not count.
pub fn find(program: &str, search_path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(search_path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}
