//! A folder with the files of a stack of layers, by the shortest way.

use std::sync::Arc;

use xbuild_model::Chain;

use super::carried::Folder;
use super::held::Held;
use super::shared::Shared;
use super::{branch, fill, kept, spared};
use crate::EngineError;

/// Returns a folder with the files of `chain` and their stamps: one that waits, carried forward, the clone
/// of another one, or [`fresh`].
pub(super) fn obtain(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    branch::in_turn(shared, chain, || match Held::take(shared, chain) {
        Some(mut held) => {
            fill::forward(shared, held.get_mut(), chain)?;
            Ok(held)
        }
        None => match branch::of_another(shared, chain) {
            Some(held) => Ok(held),
            None => fresh(shared, chain),
        },
    })
}

/// Returns the root of this container with the files of `chain`, carried forward or filled anew.
pub(super) fn own(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    let found = shared.own_root.take(chain, shared.options.own_root.as_ref())?;
    let is_new = found.is_none();
    let folder = match found {
        Some(folder) => Ok(folder),
        None => shared.store.temp_dir("folder").map(|temp| Folder::new(temp, chain.clone())),
    };
    let mut folder = match folder {
        Ok(folder) => folder,
        Err(error) => {
            shared.own_root.give_back(None);
            return Err(error.into());
        }
    };
    folder.is_own = true;
    let mut held = Held::new(shared, folder);
    if is_new {
        spared::empty(shared)?;
        fill::fill(shared, held.get(), chain)?;
        fill::restamp(shared, held.get_mut(), chain)?;
    } else {
        fill::forward(shared, held.get_mut(), chain)?;
    }
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
