//! The keys that results are remembered under.

use xbuild_model::{Chain, Digest};
use xbuild_plan::Vertex;

/// Returns the key of a RUN on the layers `parent` that mounts the layers `sources`.
pub(crate) fn of_run(vertex: &Vertex, parent: &Chain, sources: &[Chain]) -> Digest {
    let inputs: Vec<Option<Digest>> =
        std::iter::once(parent).chain(sources).map(Chain::id).collect();
    let inputs: Vec<Option<&Digest>> = inputs.iter().map(Option::as_ref).collect();
    key(vertex, &inputs)
}

/// Returns the key of a COPY, ADD or WORKDIR whose selection has the content key `content`.
///
/// The layers below are part of the key although the selection was worked out against them:
/// modification times are in no key, so equal files copied onto something else must not bring
/// theirs along.
pub(crate) fn of_files(vertex: &Vertex, below: &Chain, content: &Digest) -> Digest {
    key(vertex, &[below.id().as_ref(), Some(content)])
}

/// Returns the key of a result: what the step says, and the results that it depends on.
///
/// The version changes whenever equal keys would no longer mean equal layers.
fn key(vertex: &Vertex, inputs: &[Option<&Digest>]) -> Digest {
    const VERSION: &str = "xbuild step 1";
    let mut text = format!("{VERSION}\n{}\n", vertex.definition);
    for input in inputs {
        text.push_str(&input.map_or_else(|| "none".to_owned(), ToString::to_string));
        text.push('\n');
    }
    Digest::of(text.as_bytes())
}
