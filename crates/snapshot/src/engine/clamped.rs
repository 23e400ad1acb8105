//! Layers whose times are rewritten: those after a given one become that one.
//!
//! Such a layer is a layer like any other, with a diff ID, a blob and an index of its own. The store
//! remembers it, so it is made once for each time.

use tracing::debug_span;
use xbuild_layer::{Encoding, LayerError, clamp_times};
use xbuild_model::DiffId;

use super::shared::Shared;
use super::turns;
use crate::{EngineError, LayerSink};

/// Returns the layers, in order, without times after `latest`, in seconds since 1970. Those that are
/// missing are made, with blobs in an encoding.
pub(super) fn layers(
    shared: &Shared,
    layers: Vec<DiffId>,
    latest: u64,
    encoding: Encoding,
) -> Result<Vec<DiffId>, EngineError> {
    turns::each(layers, |layer| {
        if let Some(clamped) = known(shared, &layer, latest)? {
            return Ok(clamped);
        }
        // Brings the layer into the store. This takes the lock that is taken again below.
        let tar = shared.read_tar(&layer)?;
        shared.busy.with(&layer, || match known(shared, &layer, latest)? {
            Some(clamped) => Ok(clamped),
            None => make(shared, &layer, tar, latest, encoding),
        })
    })
}

/// Returns a layer that was made before and is still there.
fn known(shared: &Shared, layer: &DiffId, latest: u64) -> Result<Option<DiffId>, EngineError> {
    let Some(clamped) = shared.store.clamped(layer, latest)? else { return Ok(None) };
    let is_here = shared.store.layer(&clamped)?.is_some();
    Ok(is_here.then_some(clamped))
}

fn make(
    shared: &Shared,
    layer: &DiffId,
    tar: impl std::io::Read,
    latest: u64,
    encoding: Encoding,
) -> Result<DiffId, EngineError> {
    let _span = debug_span!("layer", work = "clamp", diff_id = %layer, latest).entered();
    let fault = |source: LayerError| EngineError::Layer { layer: layer.clone(), source };
    let sink = LayerSink::new(&shared.store, encoding, None)?.within(shared.options.bound);
    let latest_second = i64::try_from(latest).unwrap_or(i64::MAX);
    let made = clamp_times(tar, latest_second, sink).map_err(fault)?.finish()?;
    let clamped = made.diff_id;
    shared.remember(&clamped, made.index);
    shared.store.put_clamped(layer, latest, &clamped)?;
    Ok(clamped)
}
