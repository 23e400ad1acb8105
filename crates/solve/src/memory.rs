//! The last runs of a build's steps.
//!
//! A step is known by its place: Dockerfile and context, stage, number in the stage, platforms. A
//! line that is inserted or deleted moves all steps after it. So if a different step stood in a
//! place, a step that says the same is searched for among those that stood in the place or after
//! it.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use xbuild_model::seam::LastRuns;
use xbuild_model::{Digest, StepFailure};
use xbuild_plan::{Graph, Position, Vertex};

use crate::file_hashes::LIMIT;
use crate::seen::{Says, Seen};

/// The search for a step that has moved ends after this many steps, or after [`LIMIT`] files.
/// Stages are shorter, and each step is a small record.
const SEARCHED: usize = 64;

/// The steps of earlier builds, each read when it is asked for.
pub(crate) struct Memory<'a> {
    graph: &'a Graph,
    runs: &'a dyn LastRuns,
    /// The digest that names the Dockerfile and the context.
    project: &'a Digest,
    /// The stages in which a different step stood in some place.
    stages: Mutex<HashMap<Digest, Stage>>,
}

/// A stage with lines that moved.
struct Stage {
    /// The steps that stood in the first such place and after it, read before this build overwrites
    /// them.
    before: HashMap<Says, Seen>,
    /// The present steps of the stage.
    now: HashSet<Says>,
}

/// The earlier run of a step.
pub(crate) enum Last {
    /// No step is known to have run in its place.
    Never,
    /// The step is new: the step that stood in its place still stands elsewhere in the stage.
    New,
    /// The parts of its last run, or of the step that stood in its place.
    Was(Seen),
}

impl<'a> Memory<'a> {
    pub(crate) fn new(graph: &'a Graph, runs: &'a dyn LastRuns, project: &'a Digest) -> Self {
        Self { graph, runs, project, stages: Mutex::default() }
    }

    /// Returns the earlier run of the step `vertex`, whose parts are `now`.
    pub(crate) fn last(&self, vertex: &Vertex, now: &Seen) -> Result<Last, StepFailure> {
        let own = self.read(vertex, vertex.position.step)?;
        let (is_own, says) = (own.as_ref().is_some_and(|own| own.says() == now.says()), now.says());
        if is_own || vertex.position.step == 0 {
            return Ok(own.map_or(Last::Never, Last::Was));
        }
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.place(vertex, 0);
        if let (false, Some(own)) = (stages.contains_key(&key), &own) {
            stages.insert(key.clone(), self.stage(vertex, own)?);
        }
        let Some(stage) = stages.get_mut(&key) else { return Ok(Last::Never) };
        Ok(match (stage.before.remove(&says), own) {
            (Some(moved), _) => Last::Was(moved),
            (None, Some(own)) if stage.now.contains(&own.says()) => Last::New,
            (None, Some(own)) => Last::Was(own),
            (None, None) => Last::Never,
        })
    }

    /// Returns the stage of `vertex`; the step `own` stood in the vertex's place.
    fn stage(&self, vertex: &Vertex, own: &Seen) -> Result<Stage, StepFailure> {
        let step = vertex.position.step;
        let mut before = HashMap::from([(own.says(), own.clone())]);
        let mut files = own.files().len();
        for next in step + 1..step + SEARCHED {
            let Some(seen) = self.read(vertex, next)? else { break };
            files += seen.files().len();
            if files > LIMIT {
                break;
            }
            before.entry(seen.says()).or_insert(seen);
        }
        let Position { stage, target, .. } = &vertex.position;
        let is_here = |other: &&Vertex| {
            let Position { stage: of, target: wanted, .. } = &other.position;
            (of, wanted, &other.platform) == (stage, target, &vertex.platform)
        };
        let here = self.graph.vertices.iter().filter(is_here);
        Ok(Stage { before, now: here.filter_map(Says::of).collect() })
    }

    /// Remembers a step that ran.
    pub(crate) fn keep(&self, vertex: &Vertex, now: &Seen) -> Result<(), StepFailure> {
        self.runs.keep_run(&self.place(vertex, vertex.position.step), &now.encode())
    }

    fn read(&self, vertex: &Vertex, step: usize) -> Result<Option<Seen>, StepFailure> {
        let bytes = self.runs.last_run(&self.place(vertex, step))?;
        Ok(bytes.and_then(|bytes| Seen::decode(&bytes)))
    }

    /// Returns the key of the place with the number `step` in the stage of `vertex`. The number 0
    /// stands for the stage itself, or for a vertex that is in no stage.
    fn place(&self, vertex: &Vertex, step: usize) -> Digest {
        let Position { stage, step: own, target } = &vertex.position;
        let target = target.as_ref().map_or_else(String::new, ToString::to_string);
        // A vertex that is in no stage is known by its definition.
        let own = if *own == 0 { vertex.definition.to_string() } else { String::new() };
        let (project, platform) = (self.project, &vertex.platform);
        let text =
            format!("xbuild place 1\n{project}\n{stage}\n{step}\n{platform}\n{target}\n{own}");
        Digest::of(text.as_bytes())
    }
}
