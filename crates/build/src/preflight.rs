//! The check before the first step: can this machine run every RUN that is not in the cache?

use std::collections::BTreeSet;
use std::sync::Arc;

use xbuild_exec::arch::Arch;
use xbuild_exec::probe::{Capabilities, Executor, Gap};
use xbuild_model::Platform;
use xbuild_plan::{Graph, VertexId};

use crate::build::Build;
use crate::emulators;
use crate::error::{Lack, PreflightError};
use crate::events::Silent;
use crate::ground::Ground;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::request::{Emulation, Isolation};
use crate::tools::Tools;

/// Returns the ground for the RUN steps of the plan. For a plan without RUN nothing is probed.
///
/// If this machine cannot run all steps, only those that are not in the cache count.
///
/// **Errors** — the missing features, for each platform. No step has run.
pub fn preflight(build: &Build, main: &MainContext, plan: &Plan) -> Result<Ground, PreflightError> {
    let _span = build.span.enter();
    if build.request.steps.isolation == Isolation::None {
        return refuse_run(&plan.graph).map(|()| Ground::default());
    }
    let every = plan.graph.iter().map(|(id, _)| id).collect();
    if let Ok(ground) = for_platforms(&platforms(&plan.graph, every), build) {
        return Ok(ground);
    }
    // Silent, since the same warnings come again when the steps run.
    let tools = Tools::new(build, main, plan, &Ground::default(), Arc::new(Silent), None)?;
    let to_do = xbuild_solve::to_do(&plan.graph, &tools.stages(build), &plan.options);
    for_platforms(&platforms(&plan.graph, to_do), build)
}

/// Refuses a plan with a RUN step.
fn refuse_run(graph: &Graph) -> Result<(), PreflightError> {
    match graph.vertices.iter().find(|vertex| vertex.op.is_run()) {
        None => Ok(()),
        Some(vertex) => Err(PreflightError::NoIsolation {
            label: vertex.label.clone(),
            span: vertex.span.clone(),
        }),
    }
}

/// Returns the platforms of the programs that the RUN steps among `vertices` execute.
fn platforms(graph: &Graph, vertices: Vec<VertexId>) -> BTreeSet<&Platform> {
    vertices.into_iter().filter_map(|id| graph.vertex(id).op.programs()).collect()
}

fn for_platforms(platforms: &BTreeSet<&Platform>, build: &Build) -> Result<Ground, PreflightError> {
    if platforms.is_empty() {
        return Ok(Ground::default());
    }
    let architectures: BTreeSet<Arch> =
        platforms.iter().filter_map(|platform| Arch::of(platform)).collect();
    let architectures: Vec<Arch> = architectures.into_iter().collect();
    let capabilities = Capabilities::probe(&architectures, &build.machine.search_path, &[])
        .with_emulation(match build.request.steps.emulation {
            Emulation::Auto => xbuild_exec::probe::Emulation::Auto,
            Emulation::Binfmt => xbuild_exec::probe::Emulation::Binfmt,
            Emulation::Intercept => xbuild_exec::probe::Emulation::Intercept,
            Emulation::Host => xbuild_exec::probe::Emulation::Host,
        });
    let choice = capabilities
        .rung(build.request.steps.isolation)
        .map_err(|error| PreflightError::NoRung(error.into()))?;
    let cannot_run =
        |platform: &Platform, gap: &Gap| lacking(&format!("cannot run {platform} programs"), gap);
    let missing =
        platforms.iter().filter_map(|platform| match capabilities.executor_for(platform) {
            Executor::Missing(gap) => Some(cannot_run(platform, &gap)),
            _ => None,
        });
    let missing: Vec<Lack> = missing.collect();
    if !missing.is_empty() {
        return Err(PreflightError::Lacks(missing));
    }
    let emulators = capabilities
        .emulators_for(platforms.iter().copied())
        .map_err(|(platform, gap)| PreflightError::Lacks(vec![cannot_run(&platform, &gap)]))?;
    let in_use = emulators::in_use(platforms, &capabilities, &emulators);
    let findings = Some(capabilities.findings);
    Ok(Ground { emulators, in_use, findings, choice: Some(choice) })
}

fn lacking(need: &str, gap: &Gap) -> Lack {
    Lack { need: need.to_owned(), gap: gap.clone() }
}
