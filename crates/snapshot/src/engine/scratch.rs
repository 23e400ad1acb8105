//! Unfinished folders.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_model::DiffId;
use xbuild_store::TempFolder;

use super::shared::Shared;
use crate::EngineError;

/// An unfinished folder, below a temporary folder of the store. Dropping it removes everything that
/// was not published.
pub(super) struct Scratch {
    /// `None` only while the value is dropped.
    temp: Option<TempFolder>,
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Scratch {
    pub(super) fn new(shared: &Arc<Shared>, purpose: &str) -> Result<Self, EngineError> {
        let temp = shared.store.temp_dir(purpose)?;
        let path = temp.path().to_owned();
        let scratch = Self { temp: Some(temp), path, shared: shared.clone() };
        make_dir(&scratch.content())?;
        Ok(scratch)
    }

    /// Returns the temporary folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the folder to fill and to publish.
    pub(super) fn content(&self) -> PathBuf {
        self.path.join("fs")
    }

    /// Makes another folder beside it.
    pub(super) fn beside(&self, name: &str) -> Result<PathBuf, EngineError> {
        let path = self.path.join(name);
        make_dir(&path)?;
        Ok(path)
    }

    /// Publishes the content, which takes up about `bytes`.
    pub(super) fn publish(&self, map: &str, name: &DiffId, bytes: u64) -> Result<(), EngineError> {
        self.shared.store.publish_folder(&self.content(), map, name, bytes)?;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(temp) = self.temp.take() {
            self.shared.sweeper.send(temp);
        }
    }
}

fn make_dir(path: &Path) -> Result<(), EngineError> {
    let made = DirBuilder::new().mode(0o755).create(path);
    made.map_err(|source: io::Error| EngineError::Io { action: "make a temporary folder", source })
}
