//! Finding the result of a vertex without doing its work.

use std::slice;

use xbuild_model::seam::Selection;
use xbuild_model::{Digest, StepFailure, StepRecord};
use xbuild_plan::{Op, Vertex};

use crate::claims::Claim;
use crate::key;
use crate::options::{SolveOptions, Stages};
use crate::result::{Done, Layers};
use crate::work::{FilesWork, RunWork, Work};

/// The answer to a look-up.
pub(crate) enum Found<'a> {
    /// No step is needed for it.
    Given(Done),
    /// The result is in the cache under this key.
    Cached(Done, Digest, StepRecord),
    /// The step has nothing to write.
    Empty(Done),
    /// The command has to run; its result will have this key.
    ToRun(Digest, RunWork<'a>),
    /// The selection has to be written; the result will have this key.
    ToWrite(Digest, FilesWork<'a>, Box<dyn Selection>),
}

impl Found<'_> {
    pub(crate) fn cached(key: Digest, record: StepRecord, parent: Layers) -> Self {
        Self::Cached(Done::of_step(record.clone(), parent), key, record)
    }

    /// Returns a word for the answer, for the step's span.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Given(_) => "given",
            Self::Cached(..) | Self::Empty(_) => "cached",
            Self::ToRun(..) | Self::ToWrite(..) => "run",
        }
    }
}

/// Looks results up.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) stages: &'a Stages<'a>,
    pub(crate) options: &'a SolveOptions,
    /// The right to a RUN that other builds may have with other secrets: their results do not count.
    pub(crate) claim: Option<&'a Claim>,
}

impl<'a> Lookup<'a> {
    pub(crate) fn new(stages: &'a Stages<'a>, options: &'a SolveOptions) -> Self {
        Self { stages, options, claim: None }
    }

    /// Returns the result of a vertex, or the work that is left to do and the key of its result.
    ///
    /// To find out what a COPY or ADD selects, its sources are read or fetched, and layers that it
    /// looks at are pulled.
    pub(crate) fn find<'w>(
        &self,
        vertex: &Vertex,
        work: Work<'w>,
    ) -> Result<Found<'w>, StepFailure> {
        match work {
            Work::Given(layers) => {
                if let Op::Image(image) = &vertex.op {
                    self.stages.snapshots.add_image(&image.layers);
                }
                Ok(Found::Given(Done::unchanged(layers)))
            }
            Work::Run(work) => {
                let key = key::of_run(vertex, &work.parent.chain, &work.sources);
                Ok(match self.cached(vertex, &key)? {
                    Some(record) => Found::cached(key, record, work.parent),
                    None => Found::ToRun(key, work),
                })
            }
            Work::Files(work) => self.find_files(vertex, work),
        }
    }

    /// Returns whether [`find`](Self::find) would pull no layer.
    pub(crate) fn pulls_nothing(&self, work: &Work<'_>) -> Result<bool, StepFailure> {
        let Work::Files(work) = work else { return Ok(true) };
        let snapshots = self.stages.snapshots;
        snapshots.selects_without_pulling(&work.below(), work.op, work.origin.as_ref())
    }

    fn find_files<'w>(
        &self,
        vertex: &Vertex,
        work: FilesWork<'w>,
    ) -> Result<Found<'w>, StepFailure> {
        let (below, origin) = (work.below(), work.origin.as_ref());
        let snapshots = self.stages.snapshots;
        if !self.is_done_anew(vertex)
            && let Some(content) = snapshots.recall(&below, work.op, origin)?
        {
            let key = key::of_files(vertex, &below, &content);
            if let Some(record) = self.cached(vertex, &key)? {
                return Ok(Found::cached(key, record, work.parent));
            }
        }
        let selection = snapshots.select(&below, work.op, origin)?;
        if selection.is_empty() {
            return Ok(Found::Empty(Done::unchanged(work.parent)));
        }
        let key = key::of_files(vertex, &below, selection.key());
        Ok(match self.cached(vertex, &key)? {
            Some(record) => Found::cached(key, record, work.parent),
            None => Found::ToWrite(key, work, selection),
        })
    }

    /// Returns whether a vertex is done even if its result is known.
    pub(crate) fn is_done_anew(&self, vertex: &Vertex) -> bool {
        self.options.no_cache || vertex.no_cache
    }

    /// Returns whether another build makes or has made the result of a key, with other secrets.
    pub(crate) fn is_of_another(&self, key: &Digest) -> bool {
        self.claim.is_some_and(|claim| claim.is_of_another(key))
    }

    /// Returns the result of a vertex that is recorded under `key`, if its layers can still be used.
    fn cached(&self, vertex: &Vertex, key: &Digest) -> Result<Option<StepRecord>, StepFailure> {
        if self.is_done_anew(vertex) {
            return Ok(None);
        }
        let found = self.stages.cache.find(slice::from_ref(key))?.pop().flatten();
        Ok(found.filter(|record| self.is_usable(record) && !self.is_of_another(key)))
    }

    /// Returns whether the layers of a result can still be used.
    pub(crate) fn is_usable(&self, record: &StepRecord) -> bool {
        record.added.0.iter().all(|layer| self.stages.snapshots.has_layer(layer))
    }
}
