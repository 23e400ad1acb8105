//! Spans for those who follow a build: one for each stage, and in it one for each step.
//!
//! The graph has no stages, and steps run as soon as their inputs are done. So the span of a stage
//! begins with its first step and ends with its last one.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tracing::field::{Empty, display};
use tracing::{Span, info_span};
use xbuild_model::Platform;
use xbuild_plan::{Graph, Position, Vertex};

/// The spans of one build.
pub(crate) struct Spans<'g> {
    /// The span of the caller.
    build: Span,
    stages: Mutex<HashMap<StageKey<'g>, Stage>>,
}

/// The name of a stage and the platform asked for.
type StageKey<'g> = (&'g str, Option<&'g Platform>);

#[derive(Default)]
struct Stage {
    /// Present from the beginning of its first step to the end of its last.
    span: Option<Span>,
    /// The number of steps that have not ended.
    left: usize,
}

impl<'g> Spans<'g> {
    pub(crate) fn new(graph: &'g Graph) -> Self {
        let mut stages: HashMap<StageKey<'g>, Stage> = HashMap::new();
        for key in graph.vertices.iter().filter_map(stage_of) {
            stages.entry(key).or_default().left += 1;
        }
        Self { build: Span::current(), stages: Mutex::new(stages) }
    }

    /// Runs the step of a vertex within its span.
    pub(crate) fn within<T>(&self, vertex: &'g Vertex, perform: impl FnOnce() -> T) -> T {
        let parent = self.begin(vertex);
        let (label, platform) = (&vertex.label, display(&vertex.platform));
        let span = info_span!(parent: &parent, "step", label, platform, result = Empty);
        let result = span.in_scope(perform);
        drop(span);
        self.end(vertex);
        result
    }

    /// Returns the span that the step of a vertex is in.
    fn begin(&self, vertex: &'g Vertex) -> Span {
        let Some(key @ (name, target)) = stage_of(vertex) else { return self.build.clone() };
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let begin =
            || info_span!(parent: &self.build, "stage", name, platform = target.map(display));
        let stage = stages.entry(key).or_default();
        stage.span.get_or_insert_with(begin).clone()
    }

    fn end(&self, vertex: &'g Vertex) {
        let Some(key) = stage_of(vertex) else { return };
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let stage = stages.entry(key).or_default();
        stage.left = stage.left.saturating_sub(1);
        if stage.left == 0 {
            stage.span = None;
        }
    }
}

/// Returns the stage of a vertex; `None` for a vertex outside of stages.
fn stage_of(vertex: &Vertex) -> Option<StageKey<'_>> {
    let Position { stage, step, target } = &vertex.position;
    (*step > 0).then_some((stage.as_str(), target.as_ref()))
}
