//! Owners where only one id exists.
//!
//! On disk everything belongs to that id, so a command's changes say nothing about owners. What
//! was there before keeps the owner that the tree knows, what is new belongs to root.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::mem::discriminant;

use xbuild_layer::{Change, Entry, Kind, LayerError, LayerReader, LayerWriter, Tree};

/// Copies the layer `tar`, made by a command on top of `parent`, with owners put right.
pub(super) fn restore<R: Read, W: Write>(
    tar: R,
    parent: &Tree,
    out: &mut LayerWriter<W>,
) -> Result<(), LayerError> {
    let mut layer = LayerReader::new(tar);
    // Of files with several names, which are one file.
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
                out.put(&entry, &mut layer)?;
            }
        }
    }
    layer.finish()?;
    Ok(())
}

/// Returns the owner of the file of the same kind that was there before.
fn before(parent: &Tree, entry: &Entry) -> (u32, u32) {
    parent
        .lookup(&entry.path)
        .filter(|node| discriminant(&node.kind) == discriminant(&entry.kind))
        .map_or((0, 0), |node| (node.meta.uid, node.meta.gid))
}
