//! Unpacked layers, and publishing them and fetched sources.
//!
//! They are written without syncing, because syncing them would cost more than making them anew.
//! So they count only in the boot in which they were made: the path names it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use xbuild_model::DiffId;

use crate::{Store, StoreError};

/// Unpacked layers, below the store: `folders/BOOT/MAP/HEX`.
pub(crate) const FOLDERS: &str = "folders";
/// Fetched sources, below the store: `sources/BOOT/HEX`.
pub(crate) const SOURCES: &str = "sources";

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

/// Returns the name of this boot of the machine.
pub(crate) fn boot_id() -> Result<String, StoreError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
    let id = text.trim();
    is_boot_id(id).then(|| id.to_owned()).ok_or_else(|| {
        StoreError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "no boot id"))
    })
}

/// Returns whether a name is that of a boot: a UUID.
fn is_boot_id(name: &str) -> bool {
    let groups = name.split('-').map(str::len);
    let is_hex = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    groups.eq([8, 4, 4, 4, 12]) && name.bytes().all(is_hex)
}

/// Returns the folders of other boots: unpacked layers and fetched sources.
pub(crate) fn stale(root: &Path, boot: &str) -> Vec<PathBuf> {
    let folders = [FOLDERS, SOURCES].map(|kind| fs::read_dir(root.join(kind)));
    let entries = folders.into_iter().flatten().flatten().flatten();
    let is_stale = |name: &OsStr| name.to_str().is_some_and(|n| n != boot && is_boot_id(n));
    entries.filter(|entry| is_stale(&entry.file_name())).map(|entry| entry.path()).collect()
}
