//! Filling the folders of `carried`: all files of a stack at once, or layers on top of a part of it.

use std::collections::{BTreeSet, HashSet};
use std::fs::{DirBuilder, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use tracing::debug_span;
use xbuild_files::flatten;
use xbuild_layer::{
    Change, Entry, Kind, LayerError, LayerIndex, LayerWriter, Meta, Mtime, Tree, attributes, path,
};
use xbuild_model::own_root::Spared;
use xbuild_model::{Chain, DiffId, FailureKind, StepFailure};

use super::carried::Folder;
use super::folders::{feed, pipe};
use super::held::Held;
use super::shared::Shared;
use super::{selection, spared};
use crate::folder_tasks::{CLEAR, ClearRequest, STAMP, StampRequest};
use crate::tasks::{UNPACK, UnpackRequest};
use crate::{EngineError, TaskError};

/// Applies the layers of a stack to a folder that has the files of a part of it.
pub(super) fn forward(
    shared: &Arc<Shared>,
    folder: &mut Folder,
    chain: &Chain,
) -> Result<(), EngineError> {
    let count = folder.chain.as_ref().map_or(0, |has| has.0.len());
    for number in count..chain.0.len() {
        apply(shared, folder, &chain.0[..=number])?;
    }
    if count < chain.0.len() {
        restamp(shared, folder, chain)?;
    }
    Ok(())
}

/// Returns a new folder with the files of `chain`.
pub(super) fn make(shared: &Arc<Shared>, chain: &Chain) -> Result<Held, EngineError> {
    let _span = debug_span!("folder", layers = chain.0.len()).entered();
    let folder = Folder::new(shared.store.temp_dir("folder")?, chain.clone());
    let files = folder.files();
    // From here on a failure removes the folder.
    let mut held = Held::new(shared, folder);
    DirBuilder::new()
        .mode(0o755)
        .create(&files)
        .map_err(|source| EngineError::Io { action: "make a temporary folder", source })?;
    fill(shared, held.get(), chain)?;
    restamp(shared, held.get_mut(), chain)?;
    Ok(held)
}

/// Unpacks all files of `chain` into a folder.
pub(super) fn fill(
    shared: &Arc<Shared>,
    folder: &Folder,
    chain: &Chain,
) -> Result<(), EngineError> {
    let tree = shared.tree(chain)?;
    let source = Arc::new(selection::Layers::new(shared.clone(), chain.clone()));
    unpack(shared, &folder.files(), |writer| {
        let done = match folder.is_own {
            true => flatten::to_tar_where(&tree, source, writer, spared::shows(shared)),
            false => flatten::to_tar(&tree, source, writer),
        };
        done.map_err(selection::failure)
    })
}

/// Returns whether a file of a carried layer is put into the folder.
fn is_shown(shared: &Shared, folder: &Folder, entry: &Entry) -> bool {
    if !folder.is_own {
        return true;
    }
    let shows = spared::shows(shared);
    let is_linked = match &entry.kind {
        Kind::HardLink { target } => shows(target, false),
        _ => true,
    };
    is_linked && shows(&entry.path, entry.kind == Kind::Dir)
}

/// Puts files of a stack, whose tree is `tree`, in their places in a folder that has the others.
pub(super) fn put(
    shared: &Arc<Shared>,
    files: &Path,
    (chain, tree): (&Chain, &Tree),
    paths: &BTreeSet<Vec<u8>>,
) -> Result<(), EngineError> {
    let source = Arc::new(selection::Layers::new(shared.clone(), chain.clone()));
    unpack(shared, files, |writer| {
        flatten::some_to_tar(tree, source, paths, writer).map_err(selection::failure)
    })
}

/// Applies the last layer of a stack to a folder with all files below it.
fn apply(shared: &Arc<Shared>, folder: &Folder, layers: &[DiffId]) -> Result<(), EngineError> {
    let Some((layer, below)) = layers.split_last() else { return Ok(()) };
    let _span = debug_span!("layer", work = "apply", diff_id = %layer).entered();
    let index = shared.index(layer)?;
    let (before, after) =
        (shared.tree(&Chain(below.to_vec()))?, shared.tree(&Chain(layers.to_vec()))?);
    let paths = removed(&index, &before);
    if !paths.is_empty() {
        let spared = not_of(shared, folder);
        let request = ClearRequest { folder: folder.files(), paths, spared };
        shared.start(CLEAR, &request, Vec::new())?.wait()?;
    }
    unpack(shared, &folder.files(), |writer| {
        let mut folders = HashSet::new();
        let mut reader = shared.read_layer(layer)?;
        while let Some(change) = reader.next().map_err(fault(layer))? {
            let around = match &change {
                Change::Put(entry) => path::parent(&entry.path),
                Change::Whiteout(path) => path::parent(path),
                Change::Opaque(path) => path,
            };
            if let Change::Put(entry) = &change
                && !is_shown(shared, folder, entry)
            {
                continue;
            }
            write_folders(writer, around, &after, &mut folders)?;
            match &change {
                // The root gets its metadata when a step takes the folder.
                Change::Put(entry) if entry.path.is_empty() => {}
                Change::Put(entry) => {
                    if entry.kind == Kind::Dir {
                        folders.insert(entry.path.clone());
                    }
                    writer.put_contents(entry, &mut reader)?;
                }
                Change::Whiteout(_) | Change::Opaque(_) => {}
            }
        }
        reader.finish().map_err(fault(layer))?;
        Ok(())
    })
}

/// Returns the files of the layers below that a layer removes.
fn removed(index: &LayerIndex, before: &Tree) -> Vec<Vec<u8>> {
    let mut paths = Vec::new();
    for (change, _) in index.changes() {
        match change {
            Change::Put(_) => {}
            Change::Whiteout(path) => paths.push(path.clone()),
            Change::Opaque(folder) => {
                paths.extend(before.children(folder).map(|(name, _)| path::join(folder, name)));
            }
        }
    }
    paths
}

/// Writes the folders on the way to a path that were not written yet, with the metadata that they
/// have in the end: files that come and go in them must not change their times.
fn write_folders<W: io::Write>(
    writer: &mut LayerWriter<W>,
    folder: &[u8],
    tree: &Tree,
    written: &mut HashSet<Vec<u8>>,
) -> Result<(), EngineError> {
    let mut at = Vec::new();
    for part in path::parts(folder) {
        path::push(&mut at, part);
        let Some(node) = tree.lookup(&at).filter(|node| node.is_folder()) else { return Ok(()) };
        if written.insert(at.clone()) {
            let xattrs = attributes::kept(&node.meta.xattrs);
            let meta = Meta { xattrs, ..node.meta.clone() };
            let entry = Entry { path: at.clone(), kind: Kind::Dir, meta };
            writer.put(&entry, &mut io::empty())?;
        }
    }
    Ok(())
}

fn fault(layer: &DiffId) -> impl FnOnce(LayerError) -> EngineError {
    let layer = layer.clone();
    move |source| EngineError::Layer { layer, source }
}

/// Unpacks the layer that `write` writes into a folder, on top of the files there.
fn unpack(
    shared: &Arc<Shared>,
    files: &Path,
    write: impl FnOnce(&mut LayerWriter<BufWriter<File>>) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let request = UnpackRequest { folder: files.to_owned(), owners: shared.namespace.owners()? };
    let (read, end) = pipe()?;
    let task = shared.start(UNPACK, &request, vec![read])?;
    feed(task, || {
        let mut writer = LayerWriter::new(BufWriter::with_capacity(64 << 10, File::from(end)));
        write(&mut writer)?;
        writer.finish()?.flush().map_err(|source| LayerError::Write { source })?;
        Ok(())
    })
}

/// Returns the files of a folder that are not the stack's.
fn not_of(shared: &Shared, folder: &Folder) -> Spared {
    if folder.is_own { spared::all(shared) } else { Spared::default() }
}

/// Returns the request for the next walk of a folder.
pub(super) fn stamp_request(shared: &Shared, folder: &Folder) -> StampRequest {
    let (stamps, spared) = (folder.next_stamps(), not_of(shared, folder));
    StampRequest { folder: folder.files(), stamps, spared }
}

/// Writes the stamps of a folder with the files of `chain` anew.
pub(super) fn restamp(
    shared: &Shared,
    folder: &mut Folder,
    chain: &Chain,
) -> Result<(), EngineError> {
    let request = stamp_request(shared, folder);
    let answer = shared.start(STAMP, &request, Vec::new())?.wait()?;
    folder.walked(settled(&answer)?, chain.clone());
    Ok(())
}

/// Reads the answer of a task that walked a folder.
pub(super) fn settled(answer: &[u8]) -> Result<Mtime, EngineError> {
    serde_json::from_slice(answer).map_err(|source| {
        StepFailure::new(FailureKind::Internal, TaskError::Request { source }).into()
    })
}
