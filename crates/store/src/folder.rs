//! Unpacked layers, and publishing them and fetched sources.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use xbuild_model::DiffId;

use crate::boot::FOLDERS;
use crate::{Store, StoreError};

impl Store {
    /// Returns the folder of an unpacked layer under the id map `map`, if it is there.
    pub fn folder(&self, map: &str, layer: &DiffId) -> Option<PathBuf> {
        Some(self.folder_path(map, layer)).filter(|path| path.is_dir())
    }

    /// Publishes `content`, a folder below a [`crate::TempFolder`] of this store, as the unpacked
    /// layer, and returns its new path. If somebody else was first theirs is kept and returned,
    /// and `content` stays where it is.
    pub fn publish_folder(
        &self,
        content: &Path,
        map: &str,
        layer: &DiffId,
    ) -> Result<PathBuf, StoreError> {
        publish(content, self.folder_path(map, layer))
    }

    /// Returns where the folder of an unpacked layer is, whether or not it is there.
    pub fn folder_path(&self, map: &str, layer: &DiffId) -> PathBuf {
        let mut path = self.root().join(FOLDERS);
        path.extend([self.boot(), map, &layer.0.hex()]);
        path
    }
}

/// Renames `content` to `path` unless that is there, and returns it.
pub(crate) fn publish(content: &Path, path: PathBuf) -> Result<PathBuf, StoreError> {
    let published = match rename_new(content, &path) {
        Err(Errno::NOENT) => {
            let parent = path.parent().unwrap_or(&path);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)
                .map_err(StoreError::io("make folder", parent))?;
            rename_new(content, &path)
        }
        result => result,
    };
    match published {
        Ok(()) | Err(Errno::EXIST | Errno::NOTEMPTY) => Ok(path),
        Err(errno) => Err(StoreError::io("publish", path)(errno.into())),
    }
}

pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}
