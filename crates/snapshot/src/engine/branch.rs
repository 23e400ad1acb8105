//! Folders of stages that branch off one another, where files can share their blocks.
//!
//! A step takes the folder of its stack, and what stands on the same stack needs another one. Where the
//! file system can, that is a clone: of the folder before the step changes it, if somebody waits for one,
//! else of a folder that waits and has the most in common.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use tracing::debug_span;
use xbuild_model::Chain;
use xbuild_store::TempFolder;

use super::carried::Folder;
use super::difference::Difference;
use super::fill;
use super::held::Held;
use super::kept::{carry_out, common};
use super::shared::Shared;
use crate::EngineError;
use crate::folder_tasks::{CLONE, CloneRequest};

/// Does `obtain`, which gets a folder of `chain`. Others who want one of the same stack wait, and find a
/// clone then. Where files share no blocks, nobody waits.
pub(super) fn in_turn(
    shared: &Arc<Shared>,
    chain: &Chain,
    obtain: impl FnOnce() -> Result<Held, EngineError>,
) -> Result<Held, EngineError> {
    let Some(stack) = chain.id().filter(|_| is_possible(shared)) else { return obtain() };
    shared.branches.in_turn(&stack, |others| {
        let held = obtain();
        let others = others();
        if let Ok(held) = &held
            && others > 0
        {
            // Without a clone the next one fills a folder.
            match clone(shared, held.get(), chain) {
                Ok(cloned) => cloned.rest(),
                Err(error) => tracing::debug!(%error, "a folder cannot be cloned"),
            }
        }
        held
    })
}

/// Returns a folder with the files of `chain`: a clone of the waiting folder that has the most in common
/// with it, changed to be that. `None` if there is none, or if it cannot be cloned.
pub(super) fn of_another(shared: &Arc<Shared>, chain: &Chain) -> Option<Held> {
    let other = shared.folders.nearest(chain, &common).filter(|_| is_possible(shared))?;
    match changed_clone(shared, &other, chain) {
        Ok(held) => Some(held),
        Err(error) => {
            tracing::debug!(%error, "a folder cannot be cloned");
            None
        }
    }
}

fn changed_clone(shared: &Arc<Shared>, other: &Folder, chain: &Chain) -> Result<Held, EngineError> {
    let has = other.chain.clone().unwrap_or_default();
    let mut held = empty(shared, chain)?;
    copy(shared, other, held.get())?;
    let (before, after) = (shared.tree(&has)?, shared.tree(chain)?);
    let change = Difference::between(&before, &after, common(&has, chain));
    carry_out(shared, &held.get().files(), (chain, &after), change)?;
    fill::restamp(shared, held.get_mut(), chain)?;
    Ok(held)
}

/// Returns a clone of a folder with the files of `chain`.
fn clone(shared: &Arc<Shared>, folder: &Folder, chain: &Chain) -> Result<Held, EngineError> {
    let mut held = empty(shared, chain)?;
    copy(shared, folder, held.get())?;
    fill::restamp(shared, held.get_mut(), chain)?;
    Ok(held)
}

fn copy(shared: &Shared, from: &Folder, to: &Folder) -> Result<(), EngineError> {
    let _span = debug_span!("folder", work = "clone").entered();
    let request = CloneRequest { from: from.files(), to: to.files() };
    shared.start(CLONE, &request, Vec::new())?.wait()?;
    Ok(())
}

/// Returns an empty folder. A failure from here on removes it.
fn empty(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    let held = Held::new(shared, Folder::new(shared.store.temp_dir("folder")?, chain.clone()));
    let made = DirBuilder::new().mode(0o755).create(held.get().files());
    made.map_err(|source| EngineError::Io { action: "make a temporary folder", source })?;
    Ok(held)
}

/// Returns whether files of the store can share their blocks.
fn is_possible(shared: &Shared) -> bool {
    let try_it = || shared.store.temp_dir("trial").ok().filter(can_clone).is_some();
    *shared.branches.is_possible.get_or_init(try_it)
}

fn can_clone(folder: &TempFolder) -> bool {
    let try_it = |from: &Path, to: &Path| {
        std::fs::write(from, "text")?;
        let (from, to) = (std::fs::File::open(from)?, std::fs::File::create(to)?);
        Ok::<_, std::io::Error>(rustix::fs::ioctl_ficlone(&to, &from)?)
    };
    try_it(&folder.path().join("from"), &folder.path().join("to")).is_ok()
}
