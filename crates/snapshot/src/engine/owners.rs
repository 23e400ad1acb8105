//! Owners where there is one id: the facts that a step's root file system does not show.

use xbuild_layer::{Kind, Tree};
use xbuild_model::owner::{Owner, OwnersBelow};
use xbuild_model::records::Owners;
use xbuild_model::rootfs::RootFs;

use super::shared::Shared;
use crate::EngineError;

/// Returns the facts about a stack of layers with this tree; `None` where owners are on disk.
pub(super) fn below(
    shared: &Shared,
    tree: impl FnOnce() -> Result<Tree, EngineError>,
) -> Result<Option<OwnersBelow>, EngineError> {
    Ok(match shared.namespace.owners()? {
        Owners::Real => None,
        Owners::Recorded => Some(facts(&tree()?)),
    })
}

fn facts(tree: &Tree) -> OwnersBelow {
    let mut below = OwnersBelow::default();
    for (path, node) in tree.walk(b"") {
        let owner = Owner { uid: node.meta.uid, gid: node.meta.gid };
        if owner == Owner::ROOT {
            continue;
        }
        below.has_others = true;
        if matches!(node.kind, Kind::Symlink { .. } | Kind::Fifo) {
            below.special.push((path, owner));
        }
    }
    below
}

/// Writes the facts where the runner looks for them.
pub(super) fn write(root: &RootFs, below: Option<&OwnersBelow>) -> Result<(), EngineError> {
    let Some(below) = below else { return Ok(()) };
    let failed = |source| EngineError::Io { action: "write the owners of the layers", source };
    let text = serde_json::to_vec(below).map_err(|error| failed(error.into()))?;
    std::fs::write(root.owners(), text).map_err(failed)
}
