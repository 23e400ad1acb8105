//! Owners in a namespace with one id.
//!
//! On disk this id owns all files, so the changes of a command do not show owners. Existing files
//! keep the owner in the tree; new files belong to root.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::mem::discriminant;

use xbuild_layer::{Change, Entry, Kind, LayerError, LayerReader, LayerWriter, Tree};

/// Copies the layer `tar`, which a command made on top of `parent`, and corrects the owners.
pub(super) fn restore<R: Read, W: Write>(
    tar: R,
    parent: &Tree,
    out: &mut LayerWriter<W>,
) -> Result<(), LayerError> {
    let mut layer = LayerReader::new(tar);
    // The owners of files that may have further names.
    let mut owners: HashMap<Vec<u8>, (u32, u32)> = HashMap::new();
    while let Some(change) = layer.next()? {
        match change {
            Change::Whiteout(path) => out.whiteout(&path)?,
            Change::Opaque(path) => out.opaque(&path)?,
            Change::Put(mut entry) => {
                let owner = match &entry.kind {
                    Kind::HardLink { target } => owners.get(target).copied().unwrap_or((0, 0)),
                    _ => before(parent, &entry),
                };
                if owner != (0, 0) {
                    owners.insert(entry.path.clone(), owner);
                }
                (entry.meta.uid, entry.meta.gid) = owner;
                out.put_contents(&entry, &mut layer)?;
            }
        }
    }
    layer.finish()?;
    Ok(())
}

/// Returns the owner of the previous file of the same kind.
fn before(parent: &Tree, entry: &Entry) -> (u32, u32) {
    parent
        .lookup(&entry.path)
        .filter(|node| discriminant(&node.kind) == discriminant(&entry.kind))
        .map_or((0, 0), |node| (node.meta.uid, node.meta.gid))
}
