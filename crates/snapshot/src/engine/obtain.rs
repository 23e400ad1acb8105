//! A folder with the files of a stack of layers, by the shortest way.

use std::sync::Arc;

use xbuild_model::Chain;

use super::held::Held;
use super::shared::Shared;
use super::{fill, kept};
use crate::EngineError;

/// Returns a folder with the files of `chain` and their stamps: one that waits, carried forward, or
/// [`fresh`].
pub(super) fn obtain(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    let Some(mut held) = Held::take(shared, chain) else { return fresh(shared, chain) };
    fill::forward(shared, held.get_mut(), chain)?;
    Ok(held)
}

/// Returns a folder that no step of this build had before: one of an earlier build, set back, or a new
/// one.
pub(super) fn fresh(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    match kept::take(shared, chain)? {
        Some(held) => Ok(held),
        None => fill::make(shared, chain),
    }
}
