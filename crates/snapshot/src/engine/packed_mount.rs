//! Cache folders for other machines: packed as a layer, and filled from one.

use std::sync::Arc;

use xbuild_model::records::Owners;
use xbuild_model::seam::Purpose;
use xbuild_model::{Chain, DiffId, Digest, LayerBlob};

use super::changed;
use super::shared::Shared;
use crate::EngineError;
use crate::tasks::{PACK, PackRequest};

/// A cache folder that a step of this build has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedMount {
    /// A hash of its name and of what else makes it another folder.
    pub key: Digest,
    /// Its name.
    pub id: String,
}

/// A cache folder as a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum PackedMount {
    /// The layer.
    Layer(DiffId, Box<LayerBlob>),
    /// It has more bytes than it may have.
    TooLarge(u64),
}

/// Packs a cache folder; `None` if a step of another build uses it, or if it is gone.
pub(super) fn pack(
    shared: &Arc<Shared>,
    mount: &UsedMount,
    limit: u64,
) -> Result<Option<PackedMount>, EngineError> {
    let map = shared.namespace.map_name()?;
    let Some(held) = shared.store.take_cache_mount(&map, &mount.key)? else { return Ok(None) };
    let bytes = held.bytes();
    if bytes > limit {
        return Ok(Some(PackedMount::TooLarge(bytes)));
    }
    let is_recorded = shared.namespace.owners()? == Owners::Recorded;
    let request = PackRequest { folder: held.path().to_owned(), is_recorded };
    let start = |pipe| shared.start(PACK, &request, vec![pipe]);
    let (layer, _) = changed::layer(shared, Purpose::default(), start)?;
    drop(held);
    Ok(Some(PackedMount::Layer(layer.clone(), Box::new(shared.blob(&layer)?))))
}

/// Returns the files of the cache folder that a shared cache has under a key, as a stack of one layer.
pub(super) fn find(shared: &Shared, key: &Digest) -> Option<Chain> {
    let found = shared.options.find_mount.as_ref()?(key)?;
    let layer = found.layer.diff_id.clone();
    shared.known(|known| {
        known.cached.entry(layer.clone()).or_insert(found);
    });
    Some(Chain(vec![layer]))
}
