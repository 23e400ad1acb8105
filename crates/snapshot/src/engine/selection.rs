//! What a COPY, ADD or WORKDIR writes, and the layer that it becomes.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use xbuild_model::file_op::{CopyOrigin, FileOp, RemoteFiles};
use xbuild_model::passwd::MAX_SIZE;
use xbuild_model::seam::{Purpose, Selection};
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure};

use super::{Shared, recalled};
use crate::context::Context;
use crate::copy::{self, CopyEnv, LayerSource, Origin, Prepared};
use crate::{
    Change, CopyError, EngineError, IndexedWriter, Kind, LayerError, LayerReader, SinkResult,
};

/// Works out what a step writes.
pub(super) fn select(
    shared: &Arc<Shared>,
    parent: &Chain,
    op: &FileOp,
    origin: Option<&CopyOrigin>,
) -> Result<Chosen, EngineError> {
    let place = origin.and_then(|origin| recalled::Place::of(shared, parent, op, origin));
    let has_parent = !parent.0.is_empty() && copy::needs_parent(op);
    let tree = if has_parent { Some(shared.tree(parent)?) } else { None };
    let origin = origin.map(|origin| open(shared, origin)).transpose()?;
    let remotes = fetch(shared, op)?;
    let contexts = origin.iter().filter_map(Origin::context).chain(&remotes);
    let contexts: Vec<Arc<Context>> = contexts.cloned().collect();
    contexts.iter().try_for_each(|context| recall(shared, context))?;
    let read_file = |path: &[u8]| Ok(read_file(shared, parent, path)?);
    let env = CopyEnv {
        origin,
        remotes: &remotes,
        default_mtime: shared.options.default_mtime,
        read_file: &read_file,
    };
    let prepared = copy::select(&env, tree.as_ref(), op).map_err(failure)?;
    contexts.iter().try_for_each(|context| remember(shared, context))?;
    if let Some(place) = place {
        place.keep(&prepared)?;
    }
    prepared.warnings().iter().for_each(|warning| (shared.options.on_warning)(warning));
    Ok(Chosen { shared: shared.clone(), parent: parent.clone(), prepared })
}

/// Takes in what earlier builds have found in the files of a folder.
fn recall(shared: &Shared, context: &Context) -> Result<(), EngineError> {
    context.restore_hashes(|| {
        let key = context.identity().map_err(failure)?;
        Ok(shared.store.file_hashes(&key)?)
    })
}

/// Keeps what was found in the files of a folder for later builds.
fn remember(shared: &Shared, context: &Context) -> Result<(), EngineError> {
    context.keep_hashes(|kept| {
        let key = context.identity().map_err(failure)?;
        Ok(shared.store.put_file_hashes(&key, |output| kept.write(output))?)
    })
}

/// Fetches what a step takes from elsewhere.
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
            let source = Arc::new(Layers { shared: shared.clone(), chain: chain.clone() });
            Ok(Origin::Layers { tree: shared.tree(chain)?, source })
        }
    }
}

/// Reads a small file of an image, with symbolic links followed inside of it.
fn read_file(shared: &Shared, chain: &Chain, path: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    let tree = shared.tree(chain)?;
    // A path that leads nowhere is no file.
    let Ok(found) = tree.resolve(path, true) else { return Ok(None) };
    let Some(node) = found.node else { return Ok(None) };
    let (Kind::File { size }, Some(position)) = (&node.kind, node.position) else {
        return Ok(None);
    };
    if *size > MAX_SIZE {
        return Err(EngineError::FileTooLarge {
            path: crate::ShownPath(found.path),
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
    pub(super) shared: Arc<Shared>,
    pub(super) chain: Chain,
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
}

/// What a step is about to write.
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
        let mut writer = IndexedWriter::new(sink.indexed_elsewhere());
        self.prepared.write(&mut writer).map_err(failure)?;
        let (sink, index) = writer.finish()?;
        Ok(sink.finish_indexed(index)?)
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
        let shared = &self.shared;
        if !purpose.folder {
            let made = self.write(purpose, None)?;
            shared.remember(&made.diff_id, made.index);
            return Ok(made.diff_id);
        }
        let (made, scratch) = shared.unpack(|tee| self.write(purpose, Some(tee)))?;
        shared.remember(&made.diff_id, made.index);
        shared.publish_new(&scratch, &self.parent, &made.diff_id, false)?;
        Ok(made.diff_id)
    }
}

/// Says whose business a failed copy is.
pub(super) fn failure(error: CopyError) -> EngineError {
    let kind = match error {
        CopyError::Layers { source } => return source.into(),
        // What is to be written is at fault, not the writing.
        CopyError::Layer(
            LayerError::SizeChanged { .. } | LayerError::Contents { .. } | LayerError::Entry { .. },
        ) => FailureKind::User,
        CopyError::Layer(source) => return source.into(),
        CopyError::LayerChanged { .. } | CopyError::Export { .. } => FailureKind::Internal,
        _ => FailureKind::User,
    };
    StepFailure::new(kind, error).into()
}
