//! Recorded owners: the facts that a step's root file system does not show.

use xbuild_layer::{Change, Kind, LayerIndex, Meta, Tree};
use xbuild_model::owner::{IdCounts, Owner, OwnersBelow};
use xbuild_model::records::Owners;
use xbuild_model::rootfs::RootFs;

use super::shared::Shared;
use crate::EngineError;

/// Returns the facts about a stack of layers with this tree; `None` where all owners are on disk.
pub(super) fn below(
    shared: &Shared,
    tree: impl FnOnce() -> Result<Tree, EngineError>,
) -> Result<Option<OwnersBelow>, EngineError> {
    Ok(match shared.namespace.owners()? {
        Owners::Recorded => Some(facts(&tree()?, None)),
        Owners::Real => {
            let counts = shared.namespace.id_counts()?;
            Some(facts(&tree()?, Some(counts))).filter(|below| below.has_others)
        }
    })
}

/// Returns the same for layers of which `is_beyond` says whether they have owners that do not exist: the
/// tree is not needed for most.
pub(super) fn below_layers(
    shared: &Shared,
    is_beyond: bool,
    tree: impl FnOnce() -> Result<Tree, EngineError>,
) -> Result<Option<OwnersBelow>, EngineError> {
    match shared.namespace.owners()? {
        Owners::Real if !is_beyond => Ok(None),
        _ => below(shared, tree),
    }
}

/// Returns whether a layer has files of owners that do not exist.
pub(super) fn is_beyond(index: &LayerIndex, counts: IdCounts) -> bool {
    index.changes().iter().any(|(change, _)| match change {
        Change::Put(entry) => !counts.have(owner_of(&entry.meta)),
        _ => false,
    })
}

fn owner_of(meta: &Meta) -> Owner {
    Owner { uid: meta.uid, gid: meta.gid }
}

fn facts(tree: &Tree, counts: Option<IdCounts>) -> OwnersBelow {
    let mut below = OwnersBelow { counts, ..OwnersBelow::default() };
    for (path, node) in tree.walk(b"") {
        let owner = owner_of(&node.meta);
        if counts.map_or(owner == Owner::ROOT, |counts| counts.have(owner)) {
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
