//! Unpacked layers: the lower folders of overlay mounts.
//!
//! A layer may have files in folders without having entries for the folders. Then the layers below
//! determine their metadata, but in an overlay mount the topmost folder does. So a layer's folder
//! fits only on top of layers that agree about such *implied* folders. If the tree has only default
//! metadata for them, the folder is published under the diff ID, otherwise under a name derived
//! from the diff ID and that metadata (`top::folder_name`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::pipe::PipeFlags;
use tracing::debug_span;
use xbuild_layer::{LayerError, Meta, Tree};
use xbuild_model::seam::PendingTask;
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure, machine_fault};

use super::scratch::Scratch;
use super::shared::Shared;
use super::top::{Dirs, Top, better_known, implied};
use super::{owners, turns};
use crate::tasks::{DRESS, DressRequest, UNPACK, UnpackRequest};
use crate::{EngineError, TaskError};

/// Bytes of the pipes that layers go through: the most that a plain user gets. The two sides take
/// turns less often than with the default.
const PIPE: usize = 1 << 20;

/// The parts of a stack's overlay mount.
pub(super) struct Lowers {
    /// The folders, newest first.
    pub(super) folders: Vec<PathBuf>,
    /// The metadata of the root folder.
    pub(super) root: Meta,
    /// Whether files have owners that do not exist in the namespace.
    pub(super) is_beyond: bool,
}

/// A layer whose folder is being made.
struct Item {
    layer: DiffId,
    name: DiffId,
    dirs: Dirs,
    scratch: Option<Scratch>,
}

impl Shared {
    /// Returns the folders of the layers of a stack, newest first, and unpacks those that are
    /// missing. Empty layers have no folder; a layer that occurs twice has one.
    ///
    /// The known lower part of the stack is not checked again: nobody removes folders that an open
    /// store has found.
    pub(super) fn lowers(self: &Arc<Self>, chain: &Chain) -> Result<Lowers, EngineError> {
        let map = self.namespace.map_name()?;
        let layers = &chain.0;
        let ids: Vec<Digest> = chain.ids().collect();
        let known: Vec<Option<Top>> =
            self.known(|known| ids.iter().map(|id| known.tops.get(id).cloned()).collect());
        let new = layers.iter().zip(&known).filter(|(_, known)| known.is_none());
        let mut scratches = self.look_first(new.map(|(layer, _)| layer), &map)?;
        let (mut names, mut items, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut root = Tree::empty().root().meta.clone();
        let mut is_beyond = false;
        for (position, known) in known.into_iter().enumerate() {
            let (top, dirs) = match known {
                Some(top) => (top, None),
                None => self.top(&layers[..=position], &ids[..=position])?,
            };
            if top.hides_all {
                (names, items, found) = (Vec::new(), Vec::new(), Vec::new());
            }
            if let (Some(name), Some(dirs)) = (&top.folder, dirs) {
                let layer = layers[position].clone();
                let scratch = scratches.remove(&layer);
                items.push(Item { layer, name: name.clone(), dirs, scratch });
            }
            names.extend(top.folder.clone());
            is_beyond |= top.is_beyond;
            if let Some(meta) = &top.root {
                root.clone_from(meta);
            }
            found.push((ids[position].clone(), top));
        }
        items.retain(|item| self.store.folder(&map, &item.name).is_none());
        turns::each(items, |item| self.settle(item, &map))?;
        self.known(|known| known.tops.extend(found));
        // overlayfs refuses the same folder twice. The newer one hides the older one anyway.
        let mut seen = HashSet::new();
        names.reverse();
        names.retain(|name| seen.insert(name.clone()));
        let folders = names.iter().map(|name| self.store.folder_path(&map, name)).collect();
        Ok(Lowers { folders, root, is_beyond })
    }

    /// Returns the folder of a layer of a stack if it is unpacked. It has the layer's files; the
    /// metadata of folders without an entry does not matter here.
    pub(super) fn unpacked(&self, chain: &Chain, number: usize) -> Option<PathBuf> {
        let map = self.namespace.map_name().ok()?;
        let id = chain.ids().nth(number)?;
        let top = self.known(|known| known.tops.get(&id).cloned());
        let names = top.and_then(|top| top.folder).into_iter().chain([chain.0[number].clone()]);
        names.filter_map(|name| self.store.folder(&map, &name)).next()
    }

    /// Makes layers ready. Returns the folders that need metadata from the layers below.
    fn look_first<'l>(
        self: &Arc<Self>,
        layers: impl Iterator<Item = &'l DiffId>,
        map: &str,
    ) -> Result<HashMap<DiffId, Scratch>, EngineError> {
        let mut unready = BTreeSet::new();
        for layer in layers {
            if !self.is_ready(layer, map)? {
                unready.insert(layer.clone());
            }
        }
        let pulled = turns::each(unready.into_iter().collect(), |layer| {
            let scratch = self.busy.with(&layer, || self.first_look(&layer, map))?;
            Ok::<_, EngineError>((layer, scratch))
        })?;
        Ok(pulled.into_iter().filter_map(|(layer, scratch)| Some((layer, scratch?))).collect())
    }

    /// Returns the addition of the last layer to a mount, and the metadata of its implied folders.
    /// `ids` are the chain IDs of the stacks.
    fn top(&self, layers: &[DiffId], ids: &[Digest]) -> Result<(Top, Option<Dirs>), EngineError> {
        let Some(layer) = layers.last() else { return Ok((Top::default(), None)) };
        let index = self.index(layer)?;
        if index.changes().is_empty() {
            return Ok((Top::default(), None));
        }
        let dirs = match implied(&index) {
            none if none.is_empty() => Vec::new(),
            implied => better_known(implied, &self.tree_of(layers, ids)?),
        };
        let is_beyond = owners::is_beyond(&index, self.namespace.id_counts()?);
        Ok((Top { is_beyond, ..Top::of(layer, &index, &dirs) }, Some(dirs)))
    }

    /// Returns whether a layer is indexed, and unpacked if its folder depends on nothing below.
    fn is_ready(&self, layer: &DiffId, map: &str) -> Result<bool, EngineError> {
        // A folder is kept for other builds, so nothing about it may come from a shared cache.
        let Some(index) = self.checked_index(layer)? else { return Ok(false) };
        Ok(index.changes().is_empty()
            || !implied(&index).is_empty()
            || self.store.folder(map, layer).is_some())
    }

    /// Makes a layer ready, in one pass over its bytes. Its folder is published if it depends on
    /// nothing below, and returned otherwise.
    fn first_look(
        self: &Arc<Self>,
        layer: &DiffId,
        map: &str,
    ) -> Result<Option<Scratch>, EngineError> {
        if self.is_ready(layer, map)? {
            return Ok(None);
        }
        let (index, scratch) =
            self.twice(layer, || self.unpack(|tee| self.scan(layer, Some(tee))))?;
        if implied(&index).is_empty() {
            scratch.publish(map, layer, index.unpacked_size())?;
            return Ok(None);
        }
        Ok(Some(scratch))
    }

    /// Publishes the folder of a layer.
    fn settle(self: &Arc<Self>, item: Item, map: &str) -> Result<(), EngineError> {
        let Item { layer, name, dirs, scratch } = item;
        self.busy.with(&name, || {
            if self.store.folder(map, &name).is_some() {
                return Ok(());
            }
            let scratch = match scratch {
                Some(scratch) => scratch,
                None => self.twice(&layer, || self.unpack(|tee| self.scan(&layer, Some(tee))))?.1,
            };
            self.dress(&scratch.content(), dirs)?;
            scratch.publish(map, &name, self.index(&layer)?.unpacked_size())
        })
    }

    /// Publishes the folder of a new layer on top of `parent`. `is_dressed` says whether its
    /// implied folders have the metadata of the layers below.
    pub(super) fn publish_new(
        &self,
        scratch: &Scratch,
        parent: &Chain,
        layer: &DiffId,
        is_dressed: bool,
    ) -> Result<(), EngineError> {
        let chain = parent.with(layer.clone());
        let ids: Vec<Digest> = chain.ids().collect();
        let (top, dirs) = self.top(&chain.0, &ids)?;
        if let (Some(name), Some(dirs)) = (&top.folder, dirs) {
            if !is_dressed {
                self.dress(&scratch.content(), dirs)?;
            }
            let size = self.index(layer)?.unpacked_size();
            scratch.publish(&self.namespace.map_name()?, name, size)?;
        }
        self.known(|known| known.tops.extend(ids.into_iter().last().map(|id| (id, top))));
        Ok(())
    }

    /// Unpacks the tar stream that `run` writes. Returns the result of `run`, and the folder.
    pub(super) fn unpack<T>(
        self: &Arc<Self>,
        run: impl FnOnce(Box<dyn Write + Send>) -> Result<T, EngineError>,
    ) -> Result<(T, Scratch), EngineError> {
        let _span = debug_span!("layer", work = "unpack").entered();
        let scratch = Scratch::new(self, "layer")?;
        let owners = self.namespace.owners()?;
        let request = UnpackRequest { folder: scratch.content(), owners };
        let (read, write) = pipe()?;
        let task = self.start(UNPACK, &request, vec![read])?;
        let pipe = BufWriter::with_capacity(PIPE / 4, File::from(write));
        Ok((feed(task, || run(Box::new(pipe)))?, scratch))
    }

    /// Gives folders below `folder` their metadata.
    pub(super) fn dress(&self, folder: &Path, dirs: Dirs) -> Result<(), EngineError> {
        if dirs.is_empty() {
            return Ok(());
        }
        let owners = self.namespace.owners()?;
        let request = DressRequest { folder: folder.to_owned(), owners, dirs };
        self.start(DRESS, &request, Vec::new())?.wait()?;
        Ok(())
    }

    /// Starts a task of the user namespace.
    pub(super) fn start(
        &self,
        name: &'static str,
        request: &impl serde::Serialize,
        fds: Vec<OwnedFd>,
    ) -> Result<Box<dyn PendingTask>, EngineError> {
        let request = serde_json::to_vec(request).map_err(|source| {
            StepFailure::new(FailureKind::Internal, TaskError::Request { source })
        })?;
        Ok(self.namespace.start(name, request, fds)?)
    }
}

/// Feeds a task with `run` and waits for it.
pub(super) fn feed<T>(
    task: Box<dyn PendingTask>,
    run: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    match (run(), task.wait()) {
        (Ok(result), Ok(_)) => Ok(result),
        // The task ended and broke the pipe, so its error comes first, unless this process had no
        // room for its own copy of the bytes.
        (Err(error), Err(failure)) if !is_write(&error) || machine_fault(&error).is_some() => {
            drop(failure);
            Err(error)
        }
        (_, Err(failure)) => Err(failure.into()),
        (Err(error), Ok(_)) => Err(error),
    }
}

/// Returns the reading and the writing end of a pipe.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| EngineError::Io { action: "make a pipe", source: errno.into() })?;
    // Where the limit is lower, the default will do.
    let _ = rustix::pipe::fcntl_setpipe_size(&ends.1, PIPE);
    Ok(ends)
}

/// Returns whether writing to a pipe failed, rather than reading the input.
fn is_write(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Layer { source: LayerError::Write { .. }, .. }
            | EngineError::NewLayer { source: LayerError::Write { .. } }
    )
}
