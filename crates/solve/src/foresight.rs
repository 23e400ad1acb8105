//! The work that a build would have to do, found out without doing it.

use xbuild_model::StepFailure;
use xbuild_plan::{Graph, Vertex, VertexId};

use crate::lookup::{Found, Lookup};
use crate::options::{SolveOptions, Stages};
use crate::result::Layers;
use crate::work::Work;

/// Returns the vertices whose results are not in the cache. Those on top of another such vertex, or
/// of layers that were never read, count too, since nothing is known of their results.
///
/// Nothing is run, unpacked or pulled; the sources of COPY are read, those of ADD fetched.
///
/// **Shape** — inputs before their users; empty if [`crate::solve()`] would do nothing.
pub fn to_do(graph: &Graph, stages: &Stages<'_>, options: &SolveOptions) -> Vec<VertexId> {
    let lookup = Lookup::new(stages, options);
    let mut known: Vec<Option<Layers>> = Vec::with_capacity(graph.vertices.len());
    for (_, vertex) in graph.iter() {
        let inputs_are_known = vertex.op.inputs().all(|input| known[input.0].is_some());
        let input = |input: VertexId| known[input.0].clone().unwrap_or_default();
        // A step that fails here fails again when it is performed, and is reported then.
        let layers = inputs_are_known.then(|| foresee(lookup, vertex, input).ok().flatten());
        known.push(layers.flatten());
    }
    graph.iter().map(|(id, _)| id).filter(|id| known[id.0].is_none()).collect()
}

/// Returns whether the results of all vertices are in the cache, as far as that can be told at once:
/// without a look at files of contexts, which may be many. The first miss ends the search.
///
/// Nothing is run, unpacked, pulled, read or fetched.
pub fn is_done(graph: &Graph, stages: &Stages<'_>, options: &SolveOptions) -> bool {
    if graph.looks_at_files() {
        return false;
    }
    let lookup = Lookup::new(stages, options);
    let mut known: Vec<Layers> = Vec::with_capacity(graph.vertices.len());
    for (_, vertex) in graph.iter() {
        match foresee(lookup, vertex, |input: VertexId| known[input.0].clone()) {
            Ok(Some(layers)) => known.push(layers),
            Ok(None) | Err(_) => return false,
        }
    }
    true
}

/// Returns the resulting layers of a vertex, if a look-up finds them.
fn foresee(
    lookup: Lookup<'_>,
    vertex: &Vertex,
    input: impl Fn(VertexId) -> Layers,
) -> Result<Option<Layers>, StepFailure> {
    let work = Work::of(vertex, input);
    if !lookup.pulls_nothing(&work)? {
        return Ok(None);
    }
    Ok(match lookup.find(vertex, work)? {
        Found::Given(done) | Found::Cached(done, ..) | Found::Empty(done) => Some(done.layers),
        Found::ToRun(..) | Found::ToWrite(..) => None,
    })
}
