//! Unpacked layers: the lower folders of overlay mounts.
//!
//! A layer need not mention the folders that its files lie in; where it does not, the layers below
//! say what those are like. In an overlay mount the topmost folder says it. So a layer's folder
//! is right only on top of layers that agree about such *implied* folders: it is published under
//! the diff ID if the tree knows nothing better than the default, and otherwise under a name
//! derived from the diff ID and what the tree says (`top::folder_name`).

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
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure};

use super::scratch::Scratch;
use super::shared::Shared;
use super::top::{Dirs, Top, better_known, implied};
use super::turns;
use crate::tasks::{DRESS, DressRequest, UNPACK, UnpackRequest};
use crate::{EngineError, TaskError};

/// Bytes of the pipes that layers go through: the most that a plain user gets. Larger than the
/// default, so that the two sides take turns less often.
const PIPE: usize = 1 << 20;

/// What an overlay mount of a stack is made of.
pub(super) struct Lowers {
    /// The newest first.
    pub(super) folders: Vec<PathBuf>,
    /// What the root folder is like.
    pub(super) root: Meta,
}

/// A layer on its way to a folder.
struct Item {
    layer: DiffId,
    name: DiffId,
    dirs: Dirs,
    scratch: Option<Scratch>,
}

impl Shared {
    /// Returns the folders of the layers of a stack, the newest first, each unpacked now if it was
    /// not. Empty layers have none, and a layer that stands in the stack twice has one.
    ///
    /// What is known of the lower part of the stack is not looked at again: while the store is
    /// open nobody removes folders from it.
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
            if let Some(meta) = &top.root {
                root.clone_from(meta);
            }
            found.push((ids[position].clone(), top));
        }
        items.retain(|item| self.store.folder(&map, &item.name).is_none());
        turns::each(items, |item| self.settle(item, &map))?;
        self.known(|known| known.tops.extend(found));
        // overlayfs refuses the same folder twice; the newest hides what the other one shows.
        let mut seen = HashSet::new();
        names.reverse();
        names.retain(|name| seen.insert(name.clone()));
        let folders = names.iter().map(|name| self.store.folder_path(&map, name)).collect();
        Ok(Lowers { folders, root })
    }

    /// Returns the folder of a layer of a stack if it is unpacked. In it are the layer's files; what
    /// folders are like that the layer does not mention is of no account.
    pub(super) fn unpacked(&self, chain: &Chain, number: usize) -> Option<PathBuf> {
        let map = self.namespace.map_name().ok()?;
        let id = chain.ids().nth(number)?;
        let top = self.known(|known| known.tops.get(&id).cloned());
        let names = top.and_then(|top| top.folder).into_iter().chain([chain.0[number].clone()]);
        names.filter_map(|name| self.store.folder(&map, &name)).next()
    }

    /// Makes layers ready. Returns the folders of those that need something from the layers below.
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

    /// Returns what the last of the layers adds, and what its folder's implied folders are like;
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
        Ok((Top::of(layer, &index, &dirs), Some(dirs)))
    }

    /// Returns whether a layer is indexed, and unpacked if that needs nothing but the layer.
    fn is_ready(&self, layer: &DiffId, map: &str) -> Result<bool, EngineError> {
        let Some(index) = self.known_index(layer)? else { return Ok(false) };
        Ok(index.changes().is_empty()
            || !implied(&index).is_empty()
            || self.store.folder(map, layer).is_some())
    }

    /// Makes a layer ready, in one pass over its bytes. Its folder is published if it needs nothing
    /// from the layers below, and returned otherwise.
    fn first_look(
        self: &Arc<Self>,
        layer: &DiffId,
        map: &str,
    ) -> Result<Option<Scratch>, EngineError> {
        if self.is_ready(layer, map)? {
            return Ok(None);
        }
        let (index, scratch) = self.unpack(|tee| self.scan(layer, Some(tee)))?;
        if implied(&index).is_empty() {
            scratch.publish(map, layer)?;
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
                None => self.unpack(|tee| self.scan(&layer, Some(tee)))?.1,
            };
            self.dress(&scratch.content(), dirs)?;
            scratch.publish(map, &name)
        })
    }

    /// Publishes the folder of a layer that has just been made on top of `parent`. `is_dressed` tells
    /// whether its implied folders are as the layers below say.
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
            scratch.publish(&self.namespace.map_name()?, name)?;
        }
        self.known(|known| known.tops.extend(ids.into_iter().last().map(|id| (id, top))));
        Ok(())
    }

    /// Unpacks the tar stream that `run` writes. Returns what `run` does, and the folder.
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
        let result = run(Box::new(BufWriter::with_capacity(PIPE / 4, File::from(write))));
        let answer = task.wait();
        match (result, answer) {
            (Ok(result), Ok(_)) => Ok((result, scratch)),
            // The pipe broke since the task had ended: it knows why.
            (Err(error), Err(failure)) if !is_write(&error) => {
                drop(failure);
                Err(error)
            }
            (_, Err(failure)) => Err(failure.into()),
            (Err(error), Ok(_)) => Err(error),
        }
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

/// Returns the reading and the writing end of a pipe.
pub(super) fn pipe() -> Result<(OwnedFd, OwnedFd), EngineError> {
    let ends = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|errno| EngineError::Io { action: "make a pipe", source: errno.into() })?;
    // The default will do where the limit is lower.
    let _ = rustix::pipe::fcntl_setpipe_size(&ends.1, PIPE);
    Ok(ends)
}

/// Returns whether writing to a pipe failed, rather than what was to be written.
fn is_write(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Layer { source: LayerError::Write { .. }, .. }
            | EngineError::NewLayer { source: LayerError::Write { .. } }
    )
}
