//! A folder of `carried` in the hands of one step.

use std::sync::Arc;

use xbuild_model::Chain;

use super::carried::Folder;
use super::shared::Shared;

/// A folder in use. Dropping it throws the folder away.
#[derive(Debug)]
pub(super) struct Held {
    shared: Arc<Shared>,
    /// `None` only while this is dropped or given back.
    folder: Option<Folder>,
}

impl Held {
    /// Takes a waiting folder, see [`Folders`](super::carried::Folders).
    pub(super) fn take(shared: &Arc<Shared>, chain: &Chain) -> Option<Self> {
        Some(Self::new(shared, shared.folders.take(chain)?))
    }

    pub(super) fn new(shared: &Arc<Shared>, folder: Folder) -> Self {
        Self { shared: shared.clone(), folder: Some(folder) }
    }

    /// Returns the folder.
    pub(super) fn get(&self) -> &Folder {
        self.folder.as_ref().expect("it is there until this is dropped")
    }

    /// Returns the folder for changing the facts about it.
    pub(super) fn get_mut(&mut self) -> &mut Folder {
        self.folder.as_mut().expect("it is there until this is dropped")
    }

    /// Lets the folder wait for the next step, and returns it for reading.
    pub(super) fn share(mut self) -> Arc<Folder> {
        let folder = self.folder.take().expect("it is there until this is dropped");
        let folder = Arc::new(folder);
        if let Some(old) = self.shared.folders.put(Arc::clone(&folder)) {
            self.shared.sweeper.send(old.temp);
        }
        folder
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            self.shared.sweeper.send(folder.temp);
        }
    }
}
