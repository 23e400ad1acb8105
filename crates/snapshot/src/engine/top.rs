//! The addition of one layer to an overlay mount, and the name of its folder.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use xbuild_layer::{Change, Kind, LayerIndex, Meta, Tree, attributes, path};
use xbuild_model::{DiffId, Digest};

/// Paths of folders, with their metadata.
pub(super) type Dirs = Vec<(Vec<u8>, Meta)>;

/// The addition of the top layer of a stack to an overlay mount.
#[derive(Debug, Clone, Default)]
pub(super) struct Top {
    /// The name of its folder; `None` if it has no files.
    pub(super) folder: Option<DiffId>,
    /// Whether it hides everything below.
    pub(super) hides_all: bool,
    /// The metadata of the root folder, if it has an entry.
    pub(super) root: Option<Meta>,
    /// Whether it has files of owners that do not exist in the namespace.
    pub(super) is_beyond: bool,
}

impl Top {
    /// Returns the addition of a layer that is not empty, with the metadata of its implied folders.
    pub(super) fn of(layer: &DiffId, index: &LayerIndex, dirs: &[(Vec<u8>, Meta)]) -> Self {
        let root = index.changes().iter().rev().find_map(|(change, _)| match change {
            Change::Put(entry) if entry.path.is_empty() => Some(entry.meta.clone()),
            _ => None,
        });
        let (folder, hides_all) = (Some(folder_name(layer, dirs)), hides_all(index));
        Self { folder, hides_all, root, is_beyond: false }
    }
}

/// Returns whether a layer hides everything below it. overlayfs has no mark for that.
fn hides_all(index: &LayerIndex) -> bool {
    index.changes().iter().any(|(change, _)| *change == Change::Opaque(Vec::new()))
}

/// Returns the folders that have files of a layer, but no entry in it.
pub(super) fn implied(index: &LayerIndex) -> BTreeSet<&[u8]> {
    let mut needed = BTreeSet::new();
    let mut stated = BTreeSet::new();
    for (change, _) in index.changes() {
        let folder = match change {
            Change::Put(entry) => {
                if entry.kind == Kind::Dir {
                    stated.insert(&entry.path[..]);
                } else {
                    stated.remove(&entry.path[..]);
                }
                path::parent(&entry.path)
            }
            Change::Whiteout(path) => path::parent(path),
            Change::Opaque(path) => path,
        };
        let mut folder = folder;
        while !folder.is_empty() && needed.insert(folder) {
            folder = path::parent(folder);
        }
    }
    needed.retain(|folder| !stated.contains(folder));
    needed
}

/// Returns the implied folders of a layer whose metadata in the tree is not the default, with that
/// metadata. The tree includes the layer.
pub(super) fn better_known(implied: BTreeSet<&[u8]>, tree: &Tree) -> Dirs {
    let default = Meta { mode: 0o755, ..Meta::default() };
    let known = implied.into_iter().filter_map(|path| {
        let node = tree.lookup(path).filter(|node| node.is_folder())?;
        let meta = Meta { xattrs: attributes::kept(&node.meta.xattrs), ..node.meta.clone() };
        (meta != default).then(|| (path.to_vec(), meta))
    });
    known.collect()
}

/// Returns the name of a layer's folder: the diff ID, unless implied folders differ from the
/// default.
fn folder_name(layer: &DiffId, dirs: &[(Vec<u8>, Meta)]) -> DiffId {
    if dirs.is_empty() {
        return layer.clone();
    }
    let mut hash = Sha256::new();
    hash.update(layer.to_string());
    for (path, meta) in dirs {
        hash.update((path.len() as u64).to_le_bytes());
        hash.update(path);
        for number in [meta.mode, meta.uid, meta.gid, meta.mtime.nanos] {
            hash.update(number.to_le_bytes());
        }
        hash.update(meta.mtime.secs.to_le_bytes());
        for bytes in meta.xattrs.iter().flat_map(|(name, value)| [name, value]) {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        }
    }
    DiffId(Digest::from_sha256(hash.finalize().into()))
}
