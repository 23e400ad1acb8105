//! What a build would have to do, found out without doing any of it.

use xbuild_model::Chain;
use xbuild_plan::{Graph, VertexId};

use crate::event::{Event, Events};
use crate::memory::Memory;
use crate::options::{SolveOptions, Stages};
use crate::step::Step;

/// Returns the vertices whose results are not in the cache, or not known to be: those on top of
/// another one that is to be done, or on layers that were never read.
///
/// Nothing is run, unpacked or pulled; the sources of COPY are read, those of ADD fetched.
///
/// **Shape** — inputs before their users; empty if [`crate::solve()`] would do nothing.
pub fn to_do(graph: &Graph, stages: &Stages<'_>, options: &SolveOptions) -> Vec<VertexId> {
    let mut chains: Vec<Option<Chain>> = Vec::with_capacity(graph.vertices.len());
    let memory = Memory::new(graph, stages.store, &options.project);
    for (id, _) in graph.iter() {
        let step = Step { graph, stages, options, events: &Nobody, memory: &memory, id };
        let chain = step.foresee(|input| chains[input.0].clone());
        chains.push(chain);
    }
    graph.iter().map(|(id, _)| id).filter(|id| chains[id.0].is_none()).collect()
}

/// Takes no notice.
struct Nobody;

impl Events for Nobody {
    fn event(&self, _vertex: VertexId, _event: Event<'_>) {}
}
