//! The files that a COPY, ADD or WORKDIR writes, and the layer made of them.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_files::copy::{self, CopyEnv, LayerSource, Origin, Prepared};
use xbuild_files::{Context, CopyError, Root};
use xbuild_layer::{Change, IndexedWriter, Kind, LayerError, LayerIndex, LayerReader, Segment};
use xbuild_model::file_op::{CopyOrigin, FileOp, RemoteFiles};
use xbuild_model::passwd::MAX_SIZE;
use xbuild_model::rootfs::RootKind;
use xbuild_model::seam::{Purpose, Selection};
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure};

use super::new_layer;
use super::recalled;
use super::shared::Shared;
use crate::{EngineError, SinkResult};

/// Returns whether all layers that [`select`] needs are indexed.
pub(super) fn is_indexed(
    shared: &Shared,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
) -> Result<bool, EngineError> {
    let below = if copy::needs_parent(op) { parent.0.as_slice() } else { &[] };
    let from = match origin {
        Some(CopyOrigin::Layers(chain)) => chain.0.as_slice(),
        _ => &[],
    };
    for layer in below.iter().chain(from) {
        if shared.known_index(layer)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Determines the files that a step writes.
pub(super) fn select(
    shared: &Arc<Shared>,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
) -> Result<Chosen, EngineError> {
    let has_parent = !parent.0.is_empty() && copy::needs_parent(op);
    let tree = if has_parent { Some(shared.tree(parent)?) } else { None };
    let opened = origin.map(|origin| open(shared, origin)).transpose()?;
    let remotes = fetch(shared, op)?;
    let contexts = opened.iter().filter_map(Origin::context).chain(&remotes);
    let contexts: Vec<Arc<Context>> = contexts.cloned().collect();
    contexts.iter().try_for_each(|context| recall(shared, context))?;
    let read_file = |path: &[u8]| Ok(read_file(shared, parent, path)?);
    let env = CopyEnv {
        origin: opened,
        remotes: &remotes,
        default_mtime: shared.options.default_mtime,
        read_file: &read_file,
    };
    let prepared = copy::select(&env, tree.as_ref(), op).map_err(failure)?;
    contexts.iter().try_for_each(|context| remember(shared, context))?;
    recalled::keep(shared, parent, op, origin, &prepared)?;
    prepared.warnings().iter().for_each(|warning| (shared.options.on_warning)(warning));
    Ok(Chosen { shared: shared.clone(), parent: parent.clone(), prepared })
}

/// Loads the file hashes of earlier builds for a folder.
fn recall(shared: &Shared, context: &Context) -> Result<(), EngineError> {
    context.restore_hashes(|| {
        let key = context.identity().map_err(failure)?;
        Ok(shared.store.file_hashes(&key)?)
    })
}

/// Keeps the file hashes of a folder for later builds.
fn remember(shared: &Shared, context: &Context) -> Result<(), EngineError> {
    context.keep_hashes(|kept| {
        let key = context.identity().map_err(failure)?;
        Ok(shared.store.put_file_hashes(&key, |output| kept.write(output))?)
    })
}

/// Fetches the remote sources of a step.
fn fetch(shared: &Shared, op: &FileOp) -> Result<Vec<Arc<Context>>, EngineError> {
    let FileOp::Copy(request) = op else { return Ok(Vec::new()) };
    let fetch = |(index, remote): (usize, &RemoteFiles)| {
        let sources = shared.options.sources.as_ref().ok_or(EngineError::NoSources)?;
        let folder = sources.fetch(&remote.source)?;
        let context = Context::open(&folder, None).map_err(failure)?;
        Ok(Arc::new(context.numbered(index + 1)))
    };
    request.remotes.iter().enumerate().map(fetch).collect()
}

fn open(shared: &Arc<Shared>, origin: &CopyOrigin) -> Result<Origin, EngineError> {
    match origin {
        CopyOrigin::Context(name) => {
            let context = shared.options.contexts.get(name).cloned();
            let context =
                context.ok_or_else(|| EngineError::UnknownContext { name: name.clone() })?;
            Ok(Origin::Context(context))
        }
        CopyOrigin::Layers(chain) => {
            let source = Arc::new(Layers::new(shared.clone(), chain.clone()));
            Ok(Origin::Layers { tree: shared.tree(chain)?, source })
        }
    }
}

/// Reads a small file of an image. Symbolic links are followed inside the image.
fn read_file(shared: &Shared, chain: &Chain, path: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    let tree = shared.tree(chain)?;
    // A path that leads nowhere is not a file.
    let Ok(found) = tree.resolve(path, true) else { return Ok(None) };
    let Some(node) = found.node else { return Ok(None) };
    let (Kind::File { size }, Some(position)) = (&node.kind, node.position) else {
        return Ok(None);
    };
    if *size > MAX_SIZE {
        return Err(EngineError::FileTooLarge {
            path: xbuild_layer::ShownPath(found.path),
            limit: MAX_SIZE,
        });
    }
    let Some(layer) = chain.0.get(node.layer as usize) else { return Ok(None) };
    let fault = |source| EngineError::Layer { layer: layer.clone(), source };
    let mut reader = shared.read_layer(layer)?;
    for _ in 0..position {
        reader.next().map_err(fault)?;
    }
    let mut contents = Vec::new();
    match reader.next().map_err(fault)? {
        Some(Change::Put(_)) => reader
            .read_to_end(&mut contents)
            .map_err(|source| fault(LayerError::Read { source }))?,
        _ => return Ok(None),
    };
    Ok(Some(contents))
}

/// The layers of a stack, by number.
pub(super) struct Layers {
    shared: Arc<Shared>,
    chain: Chain,
    /// The layers that were asked for; those that are unpacked with their folder.
    unpacked: Mutex<HashMap<u32, Option<Arc<Unpacked>>>>,
}

/// A layer that is unpacked.
struct Unpacked {
    path: PathBuf,
    folder: Root,
    index: Arc<LayerIndex>,
}

impl Layers {
    pub(super) fn new(shared: Arc<Shared>, chain: Chain) -> Self {
        Self { shared, chain, unpacked: Mutex::default() }
    }

    fn unpacked(&self, number: u32) -> Option<Arc<Unpacked>> {
        // Nobody panics while holding it.
        let mut known = self.unpacked.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(number).or_insert_with(|| self.find_unpacked(number)).clone()
    }

    fn find_unpacked(&self, number: u32) -> Option<Arc<Unpacked>> {
        let path = self.shared.unpacked(&self.chain, number as usize)?;
        let folder = Root::open(&path).ok()?;
        let index = self.shared.known_index(self.chain.0.get(number as usize)?).ok()??;
        Some(Arc::new(Unpacked { path, folder, index }))
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layers").field(&self.chain).finish()
    }
}

impl LayerSource for Layers {
    fn open_layer(&self, number: u32) -> Result<LayerReader<Box<dyn Read + Send>>, StepFailure> {
        let layer = self.chain.0.get(number as usize);
        let layer = layer.ok_or(EngineError::NoSuchLayer { number })?;
        Ok(self.shared.read_layer(layer)?)
    }

    fn open_file(&self, number: u32, position: u32) -> Option<File> {
        let unpacked = self.unpacked(number)?;
        match unpacked.index.changes().get(position as usize)? {
            // This process may not be allowed to read files of other owners.
            (Change::Put(entry), _) => unpacked.folder.open_file(&entry.path).ok(),
            _ => None,
        }
    }

    fn segments(&self, number: u32, position: u32) -> Option<Vec<Segment>> {
        let index = self.shared.known_index(self.chain.0.get(number as usize)?).ok()??;
        index.segments(position).map(<[_]>::to_vec)
    }

    fn reject_files(&self, number: u32) {
        if let Some(unpacked) = self.unpacked(number) {
            // If the folder cannot be set aside, the next build meets it again.
            let _ = self.shared.store.drop_folder(&unpacked.path);
        }
    }
}

/// The files that a step is about to write.
pub(super) struct Chosen {
    shared: Arc<Shared>,
    parent: Chain,
    prepared: Prepared,
}

impl Chosen {
    /// Writes the layer, whose bytes also go to `tee`.
    fn write(
        &self,
        purpose: Purpose,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<SinkResult, EngineError> {
        let sink = self.shared.begin_layer(purpose, tee)?;
        let sink = self.shared.options.cancel.stream(sink.indexed_elsewhere());
        let mut writer = IndexedWriter::new(sink, self.prepared.len());
        self.prepared.write(&mut writer).map_err(failure)?;
        let (sink, index) = writer.finish()?;
        sink.into_inner().finish_indexed(index)
    }
}

impl Selection for Chosen {
    fn key(&self) -> &Digest {
        self.prepared.key()
    }

    fn is_empty(&self) -> bool {
        self.prepared.is_empty()
    }

    fn files(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        self.prepared.files(visit);
    }

    fn commit(self: Box<Self>, purpose: Purpose) -> Result<DiffId, StepFailure> {
        let _span = new_layer::span("copy").entered();
        let shared = &self.shared;
        // Without overlay mounts, layers have no folders of their own.
        if !purpose.folder || shared.namespace.root_kind()? != RootKind::Overlay {
            return Ok(shared.end_layer(purpose, self.write(purpose, None)?)?);
        }
        let (made, scratch) = shared.unpack(|tee| self.write(purpose, Some(tee)))?;
        let layer = shared.end_layer(purpose, made)?;
        shared.publish_new(&scratch, &self.parent, &layer, false)?;
        Ok(layer)
    }
}

/// Says who has to act on a failed copy.
pub(super) fn failure(error: CopyError) -> EngineError {
    let kind = match error {
        CopyError::Layers { source } => return source.into(),
        // The sources are at fault, not the writing.
        CopyError::Layer(
            LayerError::SizeChanged { .. } | LayerError::Contents { .. } | LayerError::Entry { .. },
        ) => FailureKind::User,
        CopyError::Layer(source) => return source.into(),
        CopyError::LayerChanged { .. }
        | CopyError::FolderChanged { .. }
        | CopyError::Export { .. } => FailureKind::Internal,
        _ => FailureKind::User,
    };
    StepFailure::new(kind, error).into()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use xbuild_model::seam::Snapshots as _;
    use xbuild_testkit::requests::copy as request;

    use super::super::tests::{Setup, message, setup};
    use super::*;

    /// Returns the layer of a copy of three files, one of them under two names.
    fn copy(setup: &Setup, chain: &Chain) -> Result<DiffId, String> {
        let op = FileOp::Copy(request("COPY b d c b2 /to/"));
        let from = CopyOrigin::Layers(chain.clone());
        let selection = setup.engine.select(&Chain::default(), &op, Some(&from)).unwrap();
        selection.commit(Purpose::default()).map_err(|failure| message(&failure))
    }

    fn image(setup: &Setup) -> Chain {
        setup.image(&[&["f a 1", "f b 2", "d d 755", "f d/x 3", "h b2 b"], &["f c 4", "f d/y 5"]])
    }

    /// Returns a setup with unpacked layers, and the folder of the first one.
    fn unpacked() -> (Setup, Chain, PathBuf) {
        let setup = setup();
        let chain = image(&setup);
        let lowers = setup.engine.0.lowers(&chain).unwrap().folders;
        (setup, chain, lowers[1].clone())
    }

    #[test]
    fn files_of_unpacked_layers_come_from_there() {
        let packed = setup();
        let expected = copy(&packed, &image(&packed)).unwrap();
        let (setup, chain, first) = unpacked();
        // From here on, the layers themselves would have to be pulled again.
        let store = &setup.engine.0.store;
        store.settle().unwrap();
        let blobs = store.root().join("blobs/sha256");
        fs::remove_dir_all(&blobs).unwrap();
        fs::create_dir(&blobs).unwrap();
        let pulled = setup.opened();
        assert_eq!((copy(&setup, &chain).unwrap(), setup.opened()), (expected.clone(), pulled));
        fs::remove_file(first.join("d/x")).unwrap();
        assert_eq!((copy(&setup, &chain).unwrap(), setup.opened()), (expected, pulled + 1));
    }

    #[test]
    fn a_folder_that_somebody_has_changed_is_an_error_once() {
        let packed = setup();
        let expected = copy(&packed, &image(&packed)).unwrap();
        for text in ["9", "", "22"] {
            let (setup, chain, first) = unpacked();
            fs::write(first.join("b"), text).unwrap();
            let error = copy(&setup, &chain).unwrap_err();
            assert!(error.contains("unpacked layer 0"), "{error}");
            // It is set aside, and the file comes from the layer then.
            assert_eq!(setup.engine.0.store.lost(), std::slice::from_ref(&first));
            assert!(!first.exists() && PathBuf::from(format!("{}-0", first.display())).exists());
            assert_eq!(copy(&setup, &chain), Ok(expected.clone()));
        }
    }
}
