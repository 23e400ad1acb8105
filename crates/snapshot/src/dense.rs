//! Layers that compress so well that a reader would take them for a bomb.
//!
//! A reader gives up on a blob that unpacks to too many bytes for its size, whoever made it. So such
//! a blob is refused where it is made.

use xbuild_layer::decode::Bound;
use xbuild_layer::{Change, Encoding, Entry, Kind, LayerError, LayerIndex, ShownPath};
use xbuild_model::Descriptor;
use xbuild_store::Store;

use crate::EngineError;

/// Checks that the blob of a layer, given by its uncompressed size in bytes and its index, can be
/// read.
///
/// **Errors** — [`EngineError::Dense`].
pub(crate) fn check(
    store: &Store,
    bound: Bound,
    (size, index): (u64, &LayerIndex),
    encoding: Encoding,
    blob: &Descriptor,
) -> Result<(), EngineError> {
    if size <= bound.allowance {
        return Ok(());
    }
    let Some(file) = store.open_blob(&blob.digest)? else { return Ok(()) };
    match bound.check(size, encoding.compression(), file) {
        Err(LayerError::Bomb { .. }) => {
            let (path, largest) = largest(index);
            Err(EngineError::Dense { size, compressed: blob.size, bound, path, largest })
        }
        result => Ok(result?),
    }
}

/// Returns the largest file of a layer, and its size in bytes.
fn largest(index: &LayerIndex) -> (ShownPath, u64) {
    let files = index.changes().iter().filter_map(|(change, _)| match change {
        Change::Put(Entry { path, kind: Kind::File { size }, .. }) => Some((path, *size)),
        _ => None,
    });
    let found = files.max_by_key(|(_, size)| *size);
    found.map_or((ShownPath(Vec::new()), 0), |(path, size)| (ShownPath(path.clone()), size))
}
