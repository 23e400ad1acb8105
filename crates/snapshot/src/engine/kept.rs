//! Folders of `carried` that one build leaves to the next.
//!
//! Most builds stand on the files of the build before. So the folders of a build do not end with it:
//! they wait in the store with the stamps of their *base*, the stack that they were filled with. A
//! later build looks for changed stamps, and puts what has changed since, whoever did it, back from
//! the layers.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use tracing::debug_span;
use xbuild_layer::{Tree, path};
use xbuild_model::own_root::Spared;
use xbuild_model::{Chain, FailureKind, StepFailure};

use super::carried::{Base, Folder, Record};
use super::difference::Difference;
use super::fill;
use super::folders::pipe;
use super::held::Held;
use super::shared::Shared;
use crate::folder_tasks::{CLEAR, ClearRequest, REVERT, RevertRequest, read_lost};
use crate::{EngineError, TaskError};

/// Takes the kept folder that has the most in common with `chain`, and gives it the files of `chain`.
/// `None` if there is none with anything in common, or if it cannot be set back.
pub(super) fn take(shared: &Arc<Shared>, chain: &Chain) -> Result<Option<Held>, EngineError> {
    let map = shared.namespace.map_name()?;
    let kept = shared.store.kept_roots::<Record>(&map);
    let known = kept.into_iter().map(|(path, record)| (common(&record.chain, chain), path));
    let Some((1.., path)) = known.max_by_key(|(common, _)| *common) else { return Ok(None) };
    let Some((temp, record)) = shared.store.take_root::<Record>(&path) else { return Ok(None) };
    let _span = debug_span!("folder", work = "set back", layers = chain.0.len()).entered();
    let folder = Folder::of_base(temp, record.chain, record.settled);
    let mut held = Held::new(shared, folder);
    match set_back(shared, held.get_mut(), chain) {
        Ok(()) => Ok(Some(held)),
        Err(error) => {
            // It is made anew. If the fault is not its own, it comes up again there.
            tracing::debug!(%error, "a folder of an earlier build is thrown away");
            held.discard();
            Ok(None)
        }
    }
}

/// Returns the number of layers that two stacks share, from the oldest on.
pub(super) fn common(one: &Chain, other: &Chain) -> usize {
    one.0.iter().zip(&other.0).take_while(|(one, other)| one == other).count()
}

fn set_back(shared: &Arc<Shared>, folder: &mut Folder, chain: &Chain) -> Result<(), EngineError> {
    let Some(base) = folder.base().cloned() else { return Ok(()) };
    let (before, after) = (shared.tree(&base.chain)?, shared.tree(chain)?);
    let lost = revert(shared, folder, &base)?;
    if lost.is_empty() && base.chain == *chain {
        folder.resume(&base);
        return Ok(());
    }
    let mut change = Difference::between(&before, &after, common(&base.chain, chain));
    add_lost(&mut change, lost, &after);
    carry_out(shared, &folder.files(), (chain, &after), change)?;
    folder.forget_base();
    fill::restamp(shared, folder, chain)
}

/// Makes a change in a folder, which has the files of `chain` then. Its tree is `tree`.
pub(super) fn carry_out(
    shared: &Arc<Shared>,
    files: &Path,
    (chain, tree): (&Chain, &Tree),
    mut change: Difference,
) -> Result<(), EngineError> {
    change.close(tree);
    if !change.gone.is_empty() {
        let spared = Spared::default();
        let request = ClearRequest { folder: files.to_owned(), paths: change.gone, spared };
        shared.start(CLEAR, &request, Vec::new())?.wait()?;
    }
    if !change.put.is_empty() {
        fill::put(shared, files, (chain, tree), &change.put)?;
    }
    Ok(())
}

/// Removes from a folder what has changed since its base. Returns what is missing now.
fn revert(
    shared: &Shared,
    folder: &Folder,
    base: &Base,
) -> Result<Vec<(bool, Vec<u8>)>, EngineError> {
    let request =
        RevertRequest { folder: folder.files(), stamps: folder.stamps(), settled: base.settled };
    let (read, write) = pipe()?;
    let task = shared.start(REVERT, &request, vec![write])?;
    let mut told = Vec::new();
    let read = BufReader::new(File::from(read)).read_to_end(&mut told);
    task.wait()?;
    read.map_err(|source| EngineError::Io { action: "read from a pipe", source })?;
    read_lost(&told)
        .ok_or_else(|| StepFailure::new(FailureKind::Internal, TaskError::NoPipe).into())
}

/// Adds the files that are missing, each alone or with everything in it, to those to be put.
fn add_lost(change: &mut Difference, lost: Vec<(bool, Vec<u8>)>, after: &Tree) {
    for (with_all, path) in lost {
        if with_all {
            change.put.extend(after.walk(&path).map(|(path, _)| path));
            // The time of the folder around has changed.
            change.touch(path::parent(&path), after);
        } else if after.lookup(&path).is_some() {
            change.put.insert(path);
        }
    }
}

#[cfg(test)]
mod tests;
