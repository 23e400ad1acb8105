//! One vertex: its result comes from the cache, or the step runs.

use std::cell::Cell;
use std::time::Instant;

use tracing::Span;
use xbuild_model::seam::{Output, Purpose, Selection};
use xbuild_model::{Chain, DiffId, Digest, StepFailure, StepRecord};
use xbuild_plan::{Vertex, VertexId};

use crate::compare;
use crate::event::{Event, Events};
use crate::failures::Failures;
use crate::lookup::{FilesWork, Found, Lookup, RunWork, Work};
use crate::memory::{Last, Memory};
use crate::mounts::{Ready, with_env};
use crate::reason::{Reason, StepKind};
use crate::result::{Done, Layers};
use crate::seen::{self, Seen};

/// A vertex whose inputs are done.
#[derive(Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) vertex: &'a Vertex,
    pub(crate) id: VertexId,
    pub(crate) lookup: Lookup<'a>,
    pub(crate) events: &'a dyn Events,
    pub(crate) memory: &'a Memory<'a>,
    pub(crate) failures: &'a Failures<'a>,
}

/// Passes the lines of a command on as events.
struct Lines<'a> {
    events: &'a dyn Events,
    id: VertexId,
}

impl Output for Lines<'_> {
    fn line(&self, line: &[u8], redraws: bool) {
        self.events.event(self.id, Event::Line { line, redraws });
    }

    fn programs(&self, natively: u64, emulated: u64) {
        self.events.event(self.id, Event::Programs { natively, emulated });
    }
}

impl Step<'_> {
    /// Returns the result of the vertex; `input` returns those of its inputs.
    pub(crate) fn perform(&self, input: impl Fn(VertexId) -> Layers) -> Result<Done, StepFailure> {
        let found = self.lookup.find(self.vertex, Work::of(self.vertex, input))?;
        Span::current().record("result", found.name());
        match found {
            Found::Given(done) => Ok(done),
            Found::Cached(done, key, record) => {
                let layers = &record.added.0;
                self.events.event(self.id, Event::Cached { layers });
                self.events.result(self.id, &key, &record);
                Ok(done)
            }
            Found::Empty(done) => {
                self.events.event(self.id, Event::Cached { layers: &[] });
                Ok(done)
            }
            Found::ToRun(key, work) => self.run(&key, work),
            Found::ToWrite(key, work, selection) => self.write(&key, work, selection),
        }
    }

    fn run(&self, key: &Digest, work: RunWork<'_>) -> Result<Done, StepFailure> {
        let RunWork { parent, request, arguments, sources } = work;
        let stages = self.lookup.stages;
        let seen = Seen::of_run(request, arguments, &parent.ground(), &sources);
        self.make(key, parent, StepKind::Run, seen, |parent, start| {
            let workspace = stages.snapshots.prepare(parent)?;
            // The cache folders come last, because other steps may wait for them from here on.
            let ready = Ready::new(stages, request, &sources)?;
            let is_emulated = stages.runner.is_emulated(&request.platform);
            self.events.event(self.id, Event::Ready { is_emulated });
            start.set(Instant::now());
            let output = Lines { events: self.events, id: self.id };
            let request = with_env(request, &ready.env);
            let records =
                stages.runner.run(workspace.root(), &request, &ready.mounts, parent, &output)?;
            drop(ready);
            workspace.commit(records, purpose(self.vertex))
        })
    }

    fn write(
        &self,
        key: &Digest,
        work: FilesWork<'_>,
        selection: Box<dyn Selection>,
    ) -> Result<Done, StepFailure> {
        let FilesWork { parent, op, independent, .. } = work;
        let ground = parent.ground();
        let seen = Seen::of_files(self.vertex, op, (!independent).then_some(&ground), &*selection);
        let kind = seen::kind(self.vertex, op);
        self.make(key, parent, kind, seen, |_, _| selection.commit(purpose(self.vertex)))
    }

    /// Makes the result and remembers it under `key`; `seen` are the parts of the step. `make` may set
    /// the time from which the step's time counts.
    fn make(
        &self,
        key: &Digest,
        parent: Layers,
        kind: StepKind,
        mut seen: Seen,
        make: impl FnOnce(&Chain, &Cell<Instant>) -> Result<DiffId, StepFailure>,
    ) -> Result<Done, StepFailure> {
        let (reasons, old) = self.reasons(&seen, kind, parent.changed_by)?;
        self.events.event(self.id, Event::Started(&reasons));
        let start = Cell::new(Instant::now());
        let made = make(&parent.chain, &start).inspect_err(|failure| {
            let (time, reason) = (start.get().elapsed(), failure.to_string());
            let event = match self.failures.is_first(self.id) {
                true => Event::Failed { time, reason: &reason },
                false => Event::Cancelled(time),
            };
            self.events.event(self.id, event);
        })?;
        let is_other = seen.has_made(&made, old.as_ref());
        let record = StepRecord {
            added: Chain(vec![made.clone()]),
            created: self.lookup.options.now(),
            description: self.vertex.label.clone(),
        };
        self.lookup.stages.cache.remember(key, &record)?;
        self.memory.keep(self.vertex, &seen)?;
        let time = start.get().elapsed();
        self.events.event(self.id, Event::Done { time, layer: &made });
        self.events.result(self.id, key, &record);
        let changed_by = match &*reasons {
            _ if !is_other => parent.changed_by,
            [Reason::LayersBelow { by: Some(by) }] => Some(*by),
            _ => Some(self.id),
        };
        Ok(Done::of_step(record, Layers { changed_by, ..parent }))
    }

    /// Returns why the step runs, and the parts of its last run if they are known. `below_by` is
    /// the step below it that ran for a reason of its own.
    fn reasons(
        &self,
        seen: &Seen,
        kind: StepKind,
        below_by: Option<VertexId>,
    ) -> Result<(Vec<Reason>, Option<Seen>), StepFailure> {
        if self.lookup.is_done_anew(self.vertex) {
            return Ok((vec![Reason::NoCache], None));
        }
        Ok(match self.memory.last(self.vertex, seen)? {
            Last::Never => (vec![Reason::FirstTime], None),
            Last::New => (vec![Reason::NewInstruction], None),
            Last::Was(old) => (compare::reasons(&old, seen, kind, below_by), Some(old)),
        })
    }
}

/// Returns the purpose of the layer of a vertex.
fn purpose(vertex: &Vertex) -> Purpose {
    Purpose { folder: vertex.needs_folder, result: vertex.is_in_output }
}
