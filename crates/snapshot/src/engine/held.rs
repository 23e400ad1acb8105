//! A folder of `carried` in the hands of one step.

use std::sync::Arc;

use xbuild_model::Chain;

use super::carried::Folder;
use super::shared::Shared;

/// A folder in use. After a failure, when it is dropped, its files are whatever the step made of
/// them; only a later build may set it back.
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

    /// Throws the folder away.
    pub(super) fn discard(mut self) {
        if let Some(folder) = self.folder.take() {
            throw_away(&self.shared, folder);
        }
    }

    /// Lets the folder wait for the next step.
    pub(super) fn rest(mut self) {
        if self.get().is_own {
            self.shared.own_root.give_back(self.folder.take());
        } else {
            drop(self.share());
        }
    }

    /// Lets the folder wait for the next step, and returns it for reading.
    pub(super) fn share(mut self) -> Arc<Folder> {
        let folder = self.folder.take().expect("it is there until this is dropped");
        let folder = Arc::new(folder);
        wait(&self.shared, Arc::clone(&folder));
        folder
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut folder) = self.folder.take() else { return };
        if folder.is_own || folder.base().is_none() {
            throw_away(&self.shared, folder);
            return;
        }
        folder.chain = None;
        wait(&self.shared, Arc::new(folder));
    }
}

fn throw_away(shared: &Shared, folder: Folder) {
    if folder.is_own {
        // The next step empties it.
        shared.own_root.give_back(None);
    }
    shared.sweeper.send(folder.temp);
}

fn wait(shared: &Shared, folder: Arc<Folder>) {
    if let Some(old) = shared.folders.put(folder) {
        shared.sweeper.send(old.temp);
    }
}
