//! Unpacked layers.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use xbuild_model::DiffId;

use crate::{Store, StoreError};

/// What the marker of a folder says that survives a power cut.
pub(crate) const SYNCED: &str = "synced";
const MARKER: &str = "boot";
const CONTENT: &str = "fs";

impl Store {
    /// Returns the folder of an unpacked layer under the id map `map`, if it is there.
    pub fn folder(&self, map: &str, layer: &DiffId) -> Option<PathBuf> {
        folder_at(&self.folder_home(map, layer))
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
        self.publish_at(content, self.folder_home(map, layer))
    }

    /// Publishes `content` as the folder of `home`.
    pub(crate) fn publish_at(&self, content: &Path, home: PathBuf) -> Result<PathBuf, StoreError> {
        if let Some(winner) = folder_at(&home) {
            return Ok(winner);
        }
        let staged = self.temp_path("folder");
        for folder in [home.parent().unwrap_or(&home), &staged] {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)
                .map_err(StoreError::io("make folder", folder))?;
        }
        let inside = staged.join(CONTENT);
        fs::rename(content, &inside).map_err(StoreError::io("move", content))?;
        let boot = boot_id().map_err(StoreError::io("read the boot id for", &staged))?;
        fs::write(staged.join(MARKER), boot).map_err(StoreError::io("write", &staged))?;
        match rename_new(&staged, &home) {
            Err(rustix::io::Errno::EXIST | rustix::io::Errno::NOTEMPTY) => {
                if let Some(winner) = folder_at(&home) {
                    fs::rename(&inside, content).map_err(StoreError::io("move", &inside))?;
                    return Ok(winner);
                }
                // Left by a boot that ended in a power cut: out of the way with it.
                let stale = self.temp_path("stale");
                fs::rename(&home, &stale).map_err(StoreError::io("move", &home))?;
                rename_new(&staged, &home)
                    .map_err(|errno| StoreError::io("publish", &home)(errno.into()))?;
            }
            other => other.map_err(|errno| StoreError::io("publish", &home)(errno.into()))?,
        }
        if let Ok(mut list) = self.unsynced.lock() {
            list.push(home.join(MARKER));
        }
        Ok(home.join(CONTENT))
    }

    fn folder_home(&self, map: &str, layer: &DiffId) -> PathBuf {
        self.root().join("folders").join(map).join(layer.0.hex())
    }
}

/// Returns the folder that was published at `home`, if it is there and whole.
pub(crate) fn folder_at(home: &Path) -> Option<PathBuf> {
    let marker = fs::read_to_string(home.join(MARKER)).ok()?;
    let valid = marker == SYNCED || boot_id().is_ok_and(|boot| boot == marker);
    valid.then(|| home.join(CONTENT))
}

pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), rustix::io::Errno> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
}
