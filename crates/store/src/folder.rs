//! Unpacked layers.
//!
//! They are written without syncing, because syncing them would cost more than making them anew.
//! So they count only in the boot in which they were made: the path names it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use xbuild_model::DiffId;

use crate::{Store, StoreError};

/// Below the store: `folders/BOOT/MAP/HEX`.
pub(crate) const FOLDERS: &str = "folders";

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
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        let path = self.folder_path(map, layer);
        let publish = || renameat_with(CWD, content, CWD, &path, RenameFlags::NOREPLACE);
        let published = match publish() {
            Err(rustix::io::Errno::NOENT) => {
                let parent = path.parent().unwrap_or(&path);
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(parent)
                    .map_err(StoreError::io("make folder", parent))?;
                publish()
            }
            result => result,
        };
        match published {
            Ok(()) | Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => Ok(path),
            Err(errno) => Err(StoreError::io("publish", path)(errno.into())),
        }
    }

    fn folder_path(&self, map: &str, layer: &DiffId) -> PathBuf {
        self.root().join(FOLDERS).join(self.boot()).join(map).join(layer.0.hex())
    }
}

/// Returns the name of this boot of the machine.
pub(crate) fn boot_id() -> Result<String, StoreError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
    let id = text.trim();
    let valid = !id.is_empty() && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    valid.then(|| id.to_owned()).ok_or_else(|| {
        StoreError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "no boot id"))
    })
}

/// Returns the folders of other boots.
pub(crate) fn stale(root: &Path, boot: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join(FOLDERS)).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name() != boot).map(|entry| entry.path()).collect()
}
