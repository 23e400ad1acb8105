//! Publishing folders, and the folders of unpacked layers.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use xbuild_model::DiffId;

use crate::boot::FOLDERS;
use crate::{Store, StoreError};

impl Store {
    /// Returns the folder of an unpacked layer under the id map `map`, if it exists.
    pub fn folder(&self, map: &str, layer: &DiffId) -> Option<PathBuf> {
        Some(self.folder_path(map, layer)).filter(|path| path.is_dir())
    }

    /// Publishes `content`, a folder below a [`crate::TempFolder`] of this store, as the unpacked
    /// layer, and returns its new path. If another build was first, returns the path of its folder
    /// and leaves `content` where it is.
    pub fn publish_folder(
        &self,
        content: &Path,
        map: &str,
        layer: &DiffId,
    ) -> Result<PathBuf, StoreError> {
        publish(content, self.folder_path(map, layer))
    }

    /// Returns the path of an unpacked layer's folder, whether or not it exists.
    pub fn folder_path(&self, map: &str, layer: &DiffId) -> PathBuf {
        let mut path = self.root().join(FOLDERS);
        path.extend([self.boot(), map, &layer.0.hex()]);
        path
    }
}

/// Renames `content` to `path` unless that exists, and returns `path`.
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
