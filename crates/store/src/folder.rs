//! Publishing folders, and the folders of unpacked layers.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use xbuild_model::DiffId;

use crate::boot::{self, FOLDERS};
use crate::{Store, StoreError};

impl Store {
    /// Returns the folder of an unpacked layer under the id map `map`, if it exists.
    pub fn folder(&self, map: &str, layer: &DiffId) -> Option<PathBuf> {
        // Whoever cannot pin it makes it again, and is told then.
        self.pin(&layer.0).ok()?;
        Some(self.folder_path(map, layer)).filter(|path| path.is_dir())
    }

    /// Publishes `content`, a folder below a [`crate::TempFolder`] of this store, as the unpacked
    /// layer, and returns its new path. If another build was first, returns the path of its folder
    /// and leaves `content` where it is. `bytes` is about what its files take up on the disk.
    pub fn publish_folder(
        &self,
        content: &Path,
        map: &str,
        layer: &DiffId,
        bytes: u64,
    ) -> Result<PathBuf, StoreError> {
        self.pin(&layer.0)?;
        self.growth().add(bytes);
        publish(content, self.folder_path(map, layer))
    }

    /// Returns the path of an unpacked layer's folder, whether or not it exists.
    pub fn folder_path(&self, map: &str, layer: &DiffId) -> PathBuf {
        let mut path = self.root().join(FOLDERS);
        path.extend([self.boot(), &boot::of_map(map), &layer.0.hex()]);
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

/// Renames a file or folder unless there is one of the new name; an empty folder may be replaced.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), Errno> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL) => rename_without_flags(from, to),
        result => result,
    }
}

/// Does the same on file systems without flags for renaming, such as NFS.
fn rename_without_flags(from: &Path, to: &Path) -> Result<(), Errno> {
    if from.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
        // A folder takes the place of an empty folder only.
        return rustix::fs::rename(from, to);
    }
    rustix::fs::link(from, to)?;
    rustix::fs::unlink(from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn nothing_is_replaced_with_and_without_flags() {
        for rename in [rename_new, rename_without_flags] {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            for name in ["file", "other"] {
                fs::write(at(name), name).unwrap();
                fs::create_dir(at(&format!("{name} folder"))).unwrap();
                fs::write(at(&format!("{name} folder/f")), name).unwrap();
            }
            assert_eq!(rename(&at("file"), &at("other")), Err(Errno::EXIST));
            let refused = rename(&at("file folder"), &at("other folder"));
            assert!(matches!(refused, Err(Errno::EXIST | Errno::NOTEMPTY)), "{refused:?}");
            assert_eq!(rename(&at("file folder"), &at("none/x")), Err(Errno::NOENT));
            assert_eq!(fs::read_to_string(at("other")).unwrap(), "other");
            assert_eq!(fs::read_to_string(at("other folder/f")).unwrap(), "other");
            rename(&at("file"), &at("new")).unwrap();
            rename(&at("file folder"), &at("new folder")).unwrap();
            assert_eq!(fs::read_to_string(at("new folder/f")).unwrap(), "file");
            assert!(!at("file").exists() && !at("file folder").exists());
        }
    }
}
