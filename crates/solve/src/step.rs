//! One vertex: its result comes from the cache, or the step runs.

use std::cell::Cell;
use std::time::Instant;

use tracing::Span;
use xbuild_model::seam::{Output, Purpose, Selection};
use xbuild_model::{Chain, DiffId, Digest, FailureKind, StepFailure, StepRecord};
use xbuild_plan::{Vertex, VertexId};

use crate::beside::Beside;
use crate::claims::Made;
use crate::compare;
use crate::event::{Event, Events};
use crate::failures::Failures;
use crate::lookup::{Found, Lookup};
use crate::memory::{Last, Memory};
use crate::mounts::{Ready, with_env};
use crate::reason::{Reason, StepKind};
use crate::result::{Done, Layers};
use crate::seen::{self, Seen};
use crate::work::{FilesWork, RunWork, Work};

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
        let work = Work::of(self.vertex, input);
        let beside = self.lookup.stages.beside;
        match beside.and_then(|beside| Some((beside, beside.identity(self.vertex, &work)?))) {
            None => Ok(self.find_or_make(work)?.0),
            Some((beside, identity)) => self.perform_once(beside, &identity, work),
        }
    }

    /// Returns the result of a step that other builds may have, too.
    fn perform_once(
        &self,
        beside: Beside<'_>,
        identity: &Digest,
        work: Work<'_>,
    ) -> Result<Done, StepFailure> {
        let cancel = self.lookup.stages.cancel;
        let ended = |error| StepFailure::new(FailureKind::Step, error);
        let claim = beside.steps.claims.take(identity, beside.build, cancel).map_err(ended)?;
        // Nobody who has a place waits for a claim.
        let _place = beside.steps.places.take(self.is_emulated());
        cancel.check().map_err(ended)?;
        let made = claim.made().filter(|made| self.lookup.is_usable(&made.record)).cloned();
        let (done, made) = match made {
            Some(Made { key, record }) => {
                self.found(Found::cached(key, record, work.into_parent()))?
            }
            None => {
                let claim = matches!(work, Work::Run(_)).then_some(&claim);
                let lookup = Lookup { claim, ..self.lookup };
                Step { lookup, ..*self }.find_or_make(work)?
            }
        };
        claim.done(made);
        Ok(done)
    }

    fn is_emulated(&self) -> bool {
        let programs = self.vertex.op.programs();
        programs.is_some_and(|platform| self.lookup.stages.runner.is_emulated(platform))
    }

    /// Returns the result of the work, and what was made for it if it was not in the cache.
    fn find_or_make(&self, work: Work<'_>) -> Result<(Done, Option<Made>), StepFailure> {
        self.found(self.lookup.find(self.vertex, work)?)
    }

    /// Does what is left to do.
    fn found(&self, found: Found<'_>) -> Result<(Done, Option<Made>), StepFailure> {
        Span::current().record("result", found.name());
        match found {
            Found::Given(done) => Ok((done, None)),
            Found::Cached(done, key, record) => {
                let layers = &record.added.0;
                self.events.event(self.id, Event::Cached { layers });
                self.events.result(self.id, &key, &record);
                Ok((done, None))
            }
            Found::Empty(done) => {
                self.events.event(self.id, Event::Cached { layers: &[] });
                Ok((done, None))
            }
            Found::ToRun(key, work) => self.run(key, work),
            Found::ToWrite(key, work, selection) => self.write(key, work, selection),
        }
    }

    fn run(&self, key: Digest, work: RunWork<'_>) -> Result<(Done, Option<Made>), StepFailure> {
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
        key: Digest,
        work: FilesWork<'_>,
        selection: Box<dyn Selection>,
    ) -> Result<(Done, Option<Made>), StepFailure> {
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
        key: Digest,
        parent: Layers,
        kind: StepKind,
        mut seen: Seen,
        make: impl FnOnce(&Chain, &Cell<Instant>) -> Result<DiffId, StepFailure>,
    ) -> Result<(Done, Option<Made>), StepFailure> {
        let (reasons, old) = self.reasons(&key, &seen, kind, parent.changed_by)?;
        if let Some(claim) = self.lookup.claim {
            claim.makes(&key);
        }
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
        self.lookup.stages.cache.remember(&key, &record)?;
        self.memory.keep(self.vertex, &seen)?;
        let time = start.get().elapsed();
        self.events.event(self.id, Event::Done { time, layer: &made });
        self.events.result(self.id, &key, &record);
        let changed_by = match &*reasons {
            _ if !is_other => parent.changed_by,
            [Reason::LayersBelow { by: Some(by) }] => Some(*by),
            _ => Some(self.id),
        };
        let done = Done::of_step(record.clone(), Layers { changed_by, ..parent });
        Ok((done, Some(Made { key, record })))
    }

    /// Returns why the step runs, and the parts of its last run if they are known. `below_by` is
    /// the step below it that ran for a reason of its own.
    fn reasons(
        &self,
        key: &Digest,
        seen: &Seen,
        kind: StepKind,
        below_by: Option<VertexId>,
    ) -> Result<(Vec<Reason>, Option<Seen>), StepFailure> {
        if self.lookup.is_done_anew(self.vertex) {
            return Ok((vec![Reason::NoCache], None));
        }
        if self.lookup.is_of_another(key) {
            return Ok((vec![Reason::OtherSecrets], None));
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
