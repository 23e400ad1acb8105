//! One vertex: from the cache, or done.

use std::time::Instant;

use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::run::RunRequest;
use xbuild_model::seam::{Output, Purpose};
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure};
use xbuild_plan::{Graph, Op, Origin, Vertex, VertexId};
use xbuild_store::CacheRecord;

use crate::compare;
use crate::event::{Event, Events};
use crate::memory::{Last, Memory};
use crate::mounts::{Ready, with_env};
use crate::options::{SolveOptions, Stages};
use crate::reason::{Reason, StepKind};
use crate::seen::{self, Ground, Seen};

/// The result of a vertex.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// The layers of the parent and those that the vertex added.
    pub(crate) layers: Layers,
    /// How many of them it added.
    pub(crate) added: usize,
    /// When it was done, RFC 3339; `None` for what no step made.
    pub(crate) created: Option<String>,
}

/// Layers, and what is known of where they come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) chain: Chain,
    /// How many of them, from the first, are the base image's.
    base: usize,
    /// The last step that ran for a reason of its own: that the layers are others than last time
    /// is due to it.
    changed_by: Option<VertexId>,
}

impl Layers {
    fn ground(&self) -> Ground<'_> {
        Ground { chain: &self.chain, base: self.base }
    }
}

/// What is needed to do a vertex whose inputs are done.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) stages: &'a Stages<'a>,
    pub(crate) options: &'a SolveOptions,
    pub(crate) events: &'a dyn Events,
    pub(crate) memory: &'a Memory<'a>,
    pub(crate) id: VertexId,
}

/// Hands the lines of a command on as events.
struct Lines<'a> {
    events: &'a dyn Events,
    id: VertexId,
}

impl Output for Lines<'_> {
    fn line(&self, stderr: bool, line: &[u8]) {
        self.events.event(self.id, Event::Line { stderr, line });
    }
}

impl Step<'_> {
    /// Returns the layers that the vertex would come to, if that takes nothing but looking them
    /// up; `input` gives those of its inputs.
    ///
    /// Nothing is pulled: where the layers below a COPY were never read, nothing on them is known.
    pub(crate) fn foresee(&self, input: impl Fn(VertexId) -> Option<Chain>) -> Option<Chain> {
        let vertex = self.graph.vertex(self.id);
        let found = |parent: &Chain, key: &Digest| {
            let added = self.cached(key).ok()??.added;
            Some(Chain(parent.0.iter().cloned().chain(added.0).collect()))
        };
        match &vertex.op {
            Op::Scratch | Op::Image(_) => {
                Some(self.perform(|_| Layers::default()).ok()?.layers.chain)
            }
            Op::Run { parent, sources, .. } => {
                let sources = sources.iter().map(|id| input(*id)).collect::<Option<Vec<_>>>()?;
                let parent = input(*parent)?;
                found(&parent, &run_key(vertex, &parent, &sources))
            }
            Op::Files { parent, op, origin, independent } => {
                let parent = input(*parent)?;
                let origin = match origin {
                    Some(Origin::Vertex(id)) => Some(CopyOrigin::Layers(input(*id)?)),
                    Some(Origin::Context(name)) => Some(CopyOrigin::Context(name.clone())),
                    None => None,
                };
                let below = if *independent { Chain::default() } else { parent.clone() };
                let read = |layer| matches!(self.stages.store.index(layer), Ok(Some(_)));
                let from = match &origin {
                    Some(CopyOrigin::Layers(chain)) => chain.0.as_slice(),
                    _ => &[],
                };
                if !below.0.iter().chain(from).all(read) {
                    return None;
                }
                // What fails here fails again where it is told.
                let selection = self.stages.snapshots.select(&below, op, origin.as_ref()).ok()?;
                if selection.is_empty() {
                    return Some(parent);
                }
                found(&parent, &files_key(vertex, &below, selection.key()))
            }
        }
    }

    /// Returns the result of the vertex; `input` gives those of its inputs.
    pub(crate) fn perform(&self, input: impl Fn(VertexId) -> Layers) -> Result<Done, StepFailure> {
        let vertex = self.graph.vertex(self.id);
        match &vertex.op {
            Op::Scratch => Ok(Done::default()),
            Op::Image(image) => {
                self.stages.snapshots.add_image(&image.layers);
                let chain = Chain(image.layers.iter().map(|layer| layer.diff_id.clone()).collect());
                let layers = Layers { base: chain.0.len(), chain, changed_by: None };
                Ok(Done { layers, ..Done::default() })
            }
            Op::Run { parent, request, sources, arguments } => {
                let sources: Vec<Chain> = sources.iter().map(|id| input(*id).chain).collect();
                self.run(input(*parent), request, arguments, &sources)
            }
            Op::Files { parent, op, origin, independent } => {
                let origin = origin.as_ref().map(|origin| match origin {
                    Origin::Context(name) => CopyOrigin::Context(name.clone()),
                    Origin::Vertex(id) => CopyOrigin::Layers(input(*id).chain),
                });
                self.files(input(*parent), op, origin.as_ref(), *independent)
            }
        }
    }

    fn run(
        &self,
        parent: Layers,
        request: &RunRequest,
        arguments: &[String],
        sources: &[Chain],
    ) -> Result<Done, StepFailure> {
        let key = run_key(self.graph.vertex(self.id), &parent.chain, sources);
        if let Some(record) = self.cached(&key)? {
            return Ok(self.found(record, parent));
        }
        let seen = Seen::of_run(request, arguments, &parent.ground(), sources);
        self.make(&key, parent, StepKind::Run, seen, |parent| {
            let workspace = self.stages.snapshots.prepare(parent)?;
            // Last, because others may wait for the cache folders from here on.
            let ready = Ready::new(self.stages, request, sources)?;
            let output = Lines { events: self.events, id: self.id };
            let request = with_env(request, &ready.env);
            let records =
                self.stages.runner.run(workspace.root(), &request, &ready.mounts, &output)?;
            drop(ready);
            workspace.commit(records, purpose(self.graph.vertex(self.id)))
        })
    }

    fn files(
        &self,
        parent: Layers,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
        independent: bool,
    ) -> Result<Done, StepFailure> {
        let vertex = self.graph.vertex(self.id);
        let below = if independent { Chain::default() } else { parent.chain.clone() };
        if let Some(record) = self.recalled(&below, op, origin)? {
            return Ok(self.found(record, parent));
        }
        let selection = self.stages.snapshots.select(&below, op, origin)?;
        if selection.is_empty() {
            self.events.event(self.id, Event::Cached);
            return Ok(Done { layers: parent, ..Done::default() });
        }
        let key = files_key(vertex, &below, selection.key());
        if let Some(record) = self.cached(&key)? {
            return Ok(self.found(record, parent));
        }
        let ground = parent.ground();
        let seen = Seen::of_files(vertex, op, (!independent).then_some(&ground), &*selection);
        let kind = seen::kind(vertex, op);
        self.make(&key, parent, kind, seen, |_| selection.commit(purpose(vertex)))
    }

    /// Returns the cached result of a step that finds everything as it was.
    fn recalled(
        &self,
        below: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Option<CacheRecord>, StepFailure> {
        if self.options.no_cache {
            return Ok(None);
        }
        match self.stages.snapshots.recall(below, op, origin)? {
            Some(content) => self.cached(&files_key(self.graph.vertex(self.id), below, &content)),
            None => Ok(None),
        }
    }

    /// Returns the result that is recorded.
    fn found(&self, record: CacheRecord, parent: Layers) -> Done {
        self.events.event(self.id, Event::Cached);
        let changed_by = parent.changed_by;
        done(record, parent, changed_by)
    }

    /// Makes the result and remembers it under `key`; `seen` is what the step is made of.
    fn make(
        &self,
        key: &Digest,
        parent: Layers,
        kind: StepKind,
        mut seen: Seen,
        make: impl FnOnce(&Chain) -> Result<DiffId, StepFailure>,
    ) -> Result<Done, StepFailure> {
        let vertex = self.graph.vertex(self.id);
        let (reasons, old) = if self.options.no_cache {
            (vec![Reason::NoCache], None)
        } else {
            match self.memory.last(vertex, &seen).map_err(internal)? {
                Last::Never => (vec![Reason::FirstTime], None),
                Last::New => (vec![Reason::NewInstruction], None),
                Last::Was(old) => {
                    (compare::reasons(&old, &seen, kind, parent.changed_by), Some(old))
                }
            }
        };
        self.events.event(self.id, Event::Started(&reasons));
        let start = Instant::now();
        let made = make(&parent.chain).inspect_err(|_| {
            self.events.event(self.id, Event::Failed(start.elapsed()));
        })?;
        let is_other = seen.has_made(&made, old.as_ref());
        let record = CacheRecord {
            added: Chain(vec![made]),
            created: self.options.now(),
            description: vertex.label.clone(),
        };
        self.stages.store.put_cached(key, &record).map_err(internal)?;
        self.memory.keep(vertex, &seen).map_err(internal)?;
        self.events.event(self.id, Event::Done(start.elapsed()));
        let changed_by = match &*reasons {
            _ if !is_other => parent.changed_by,
            [Reason::LayersBelow { by: Some(by) }] => Some(*by),
            _ => Some(self.id),
        };
        Ok(done(record, parent, changed_by))
    }

    fn cached(&self, key: &Digest) -> Result<Option<CacheRecord>, StepFailure> {
        if self.options.no_cache {
            return Ok(None);
        }
        let found = self.stages.store.cached(key).map_err(internal)?;
        Ok(found.filter(|record| {
            record.added.0.iter().all(|layer| self.stages.snapshots.has_layer(layer))
        }))
    }
}

/// Returns the result of a step that added the layers of `record`.
fn done(record: CacheRecord, parent: Layers, changed_by: Option<VertexId>) -> Done {
    let Layers { mut chain, base, .. } = parent;
    let added = record.added.0.len();
    chain.0.extend(record.added.0);
    Done { layers: Layers { chain, base, changed_by }, added, created: Some(record.created) }
}

/// Returns what the layer of a vertex is for.
fn purpose(vertex: &Vertex) -> Purpose {
    Purpose { folder: vertex.needs_folder, result: vertex.is_in_output }
}

fn internal(error: xbuild_store::StoreError) -> StepFailure {
    StepFailure::new(FailureKind::Internal, error)
}

/// Returns the key of a RUN on the layers `parent`.
fn run_key(vertex: &Vertex, parent: &Chain, sources: &[Chain]) -> Digest {
    let inputs: Vec<Option<Digest>> =
        std::iter::once(parent).chain(sources).map(Chain::id).collect();
    let inputs: Vec<Option<&Digest>> = inputs.iter().map(Option::as_ref).collect();
    cache_key(vertex, &inputs)
}

/// Returns the key of a COPY, ADD or WORKDIR that writes `selection`.
///
/// The layers below are part of the key although the selection was worked out against them:
/// modification times are in no key, so that equal files copied onto something else must not bring
/// theirs along.
fn files_key(vertex: &Vertex, below: &Chain, selection: &Digest) -> Digest {
    cache_key(vertex, &[below.id().as_ref(), Some(selection)])
}

/// Returns the key of a result: what the step says, and the results it depends on.
///
/// The version changes whenever equal keys would no longer mean equal layers.
fn cache_key(vertex: &Vertex, inputs: &[Option<&Digest>]) -> Digest {
    const VERSION: &str = "xbuild step 1";
    let mut text = format!("{VERSION}\n{}\n", vertex.definition);
    for input in inputs {
        text.push_str(&input.map_or_else(|| "none".to_owned(), ToString::to_string));
        text.push('\n');
    }
    Digest::of(text.as_bytes())
}
