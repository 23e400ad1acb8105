//! A writable root file system on top of a stack of layers, and the layer made from it.

use std::sync::Arc;

use xbuild_model::owner::OwnersBelow;
use xbuild_model::records::Records;
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::seam::{Purpose, Workspace};
use xbuild_model::{Chain, DiffId, StepFailure};

use super::folders::Lowers;
use super::joined::Part;
use super::scratch::Scratch;
use super::shared::Shared;
use super::{changed, owners, root_folder};
use crate::EngineError;
use crate::tasks::{DIFF, DiffRequest};

/// A writable root file system. Its upper folder becomes the folder of the new layer and is never
/// copied.
pub(super) struct Writable {
    shared: Arc<Shared>,
    parent: Chain,
    dirs: Overlay,
    root: RootFs,
    /// The mount that [`Overlay::joined`] names.
    _part: Option<Arc<Part>>,
    /// The mode of the root folder before the command.
    root_mode: u32,
    /// The owner of the root folder before the command; `None` for root.
    root_owner: Option<(u32, u32)>,
    /// The owners in the layers below, where they are recorded.
    owners: Option<OwnersBelow>,
    scratch: Scratch,
}

impl Writable {
    pub(super) fn prepare(shared: &Arc<Shared>, parent: &Chain) -> Result<Self, EngineError> {
        let Lowers { folders: lowers, root, is_beyond } = shared.lowers(parent)?;
        let scratch = Scratch::new(shared, "workspace")?;
        let (upper, work) = (scratch.content(), scratch.beside("work")?);
        let (root_mode, root_owner) = root_folder::dress(shared, &upper, root)?;
        let part = shared.parts.of(&lowers, &*shared.namespace, &shared.store);
        let joined = part.as_ref().map(|part| part.joined());
        let dirs = Overlay { lowers, joined, upper, work };
        let root = RootFs::Overlay(dirs.clone());
        let owners = owners::below_layers(shared, is_beyond, || shared.tree(parent))?;
        owners::write(&root, owners.as_ref())?;
        let (shared, parent) = (shared.clone(), parent.clone());
        Ok(Self { shared, parent, dirs, root, _part: part, root_mode, root_owner, owners, scratch })
    }

    fn finish(self, records: Records, purpose: Purpose) -> Result<DiffId, EngineError> {
        let shared = &self.shared;
        let dirs = &self.dirs;
        let request = DiffRequest {
            upper: dirs.upper.clone(),
            lowers: dirs.lowers.clone(),
            joined: dirs.joined.clone(),
            root_mode: self.root_mode,
            root_owner: self.root_owner,
            owners: self.owners,
            skip: Vec::new(),
            records,
        };
        let (layer, _) =
            changed::layer(shared, purpose, |pipe| shared.start(DIFF, &request, vec![pipe]))?;
        // overlayfs copies folders up with the metadata of the layers below.
        shared.publish_new(&self.scratch, &self.parent, &layer, true)?;
        Ok(layer)
    }
}

impl Workspace for Writable {
    fn root(&self) -> &RootFs {
        &self.root
    }

    fn commit(self: Box<Self>, records: Records, purpose: Purpose) -> Result<DiffId, StepFailure> {
        self.finish(records, purpose).map_err(EngineError::of_command)
    }
}
