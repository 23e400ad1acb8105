//! What is known before the first step: can every RUN that is not in the cache be run here?

use std::collections::BTreeSet;
use std::ffi::OsStr;

use xbuild_exec::Isolation;
use xbuild_exec::arch::Arch;
use xbuild_exec::binfmt::Registration;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::probe::{Capabilities, Executor, Gap};
use xbuild_model::{FailureKind, Platform};
use xbuild_plan::{Graph, VertexId};

use crate::problem::Problem;

/// Returns the emulators that the RUN steps of the graph need, each once; none for a graph
/// without RUN, for which nothing is tried out.
///
/// Where they cannot all be run, `to_do` is asked which vertices are not in the cache, and only
/// those count.
///
/// **Errors** — what this machine lacks, for each platform, before anything was done.
pub fn check(
    graph: &Graph,
    search_path: &OsStr,
    to_do: impl FnOnce() -> Result<Vec<VertexId>, Problem>,
) -> Result<Vec<Emulator>, Problem> {
    let every = graph.iter().map(|(id, _)| id).collect();
    match for_platforms(&platforms(graph, every), search_path) {
        Ok(emulators) => Ok(emulators),
        Err(_) => for_platforms(&platforms(graph, to_do()?), search_path),
    }
}

/// Returns the platforms of the RUN steps among `vertices`.
fn platforms(graph: &Graph, vertices: Vec<VertexId>) -> BTreeSet<&Platform> {
    let vertices = vertices.into_iter().map(|id| graph.vertex(id));
    let steps = vertices.filter(|vertex| vertex.op.is_run());
    steps.map(|vertex| &vertex.platform).collect()
}

fn for_platforms(
    platforms: &BTreeSet<&Platform>,
    search_path: &OsStr,
) -> Result<Vec<Emulator>, Problem> {
    if platforms.is_empty() {
        return Ok(Vec::new());
    }
    let architectures: BTreeSet<Arch> =
        platforms.iter().filter_map(|platform| Arch::of(platform)).collect();
    let architectures: Vec<Arch> = architectures.into_iter().collect();
    let capabilities = Capabilities::probe(&architectures, search_path);
    capabilities.rung(Isolation::Auto).map_err(|error| Problem::step(&error.into()))?;
    let missing =
        platforms.iter().filter_map(|platform| match capabilities.executor_for(platform) {
            Executor::Missing(gap) => {
                Some(lacking(&format!("cannot run {platform} programs"), &gap))
            }
            _ => None,
        });
    if let Some(problem) = Problem::all(missing) {
        return Err(problem);
    }
    capabilities
        .emulators_for(platforms.iter().copied())
        .map_err(|(platform, gap)| lacking(&format!("cannot run {platform} programs"), &gap))
}

/// Returns the emulators loaded, ready to be registered.
pub fn load(emulators: &[Emulator]) -> Result<Vec<Registration>, Problem> {
    let load = |emulator: &Emulator| {
        emulator.registration().map_err(|error| Problem::of(FailureKind::Environment, &error))
    };
    emulators.iter().map(load).collect()
}

fn lacking(what: &str, gap: &Gap) -> Problem {
    Problem::failure(FailureKind::Environment, format!("{what}: {}", gap.why))
        .with_hint(gap.how_to_get.clone())
}
