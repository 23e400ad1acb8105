//! The check before the first step: can this machine run every RUN that is not in the cache?

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use xbuild_exec::Started;
use xbuild_exec::arch::Arch;
use xbuild_exec::probe::{Capabilities, Executor, Gap, Trials};
use xbuild_model::Platform;
use xbuild_model::rootfs::RootKind;
use xbuild_plan::{Graph, VertexId};

use crate::build::Build;
use crate::demands::{self, lacking};
use crate::emulators;
use crate::error::{Lack, PreflightError, RunError};
use crate::events::Silent;
use crate::ground::Ground;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::request::{Emulation, Isolation};
use crate::tools::Tools;

/// Returns the ground for the RUN steps of the plan. For a plan without RUN, and for one that is done
/// already, nothing is probed.
///
/// If this machine cannot run all steps, only those that are not in the cache count.
///
/// **Errors** — the missing features, for each platform. No step has run.
pub fn preflight(build: &Build, main: &MainContext, plan: &Plan) -> Result<Ground, PreflightError> {
    let _span = build.span.enter();
    if build.request.steps.isolation == Isolation::None {
        return refuse_run(&plan.graph).map(|()| Ground::default());
    }
    let every: Vec<VertexId> = plan.graph.iter().map(|(id, _)| id).collect();
    let platforms_of_all = platforms(&plan.graph, &every);
    if platforms_of_all.is_empty() {
        return Ok(Ground::default());
    }
    if is_done(build, main, plan)? {
        return Ok(Ground::default());
    }
    // The trials ask whether the root is free.
    let root = build.membership.as_ref().and_then(|one| one.batch.own_root());
    let (found, started) = probe(&platforms_of_all, build)?;
    let with_started = |ground: Ground| {
        let is_own = ground.choice.as_ref().is_some_and(|choice| choice.root == RootKind::Own);
        Ground { started: Mutex::new(started), root: Mutex::new(root.filter(|_| is_own)), ..ground }
    };
    if let Ok(ground) = check(&found, &plan.graph, &every, build) {
        return Ok(with_started(ground));
    }
    // The records of the cache are looked up as on the rung that is possible.
    let choice = found.rung(build.request.steps.isolation).ok();
    let ground = Ground { choice, ..Ground::default() };
    // Silent, since the same warnings come again when the steps run.
    let tools = Tools::new(build, main, plan, &ground, Arc::new(Silent), None)?;
    let to_do = xbuild_solve::to_do(&plan.graph, &tools.stages(build), &plan.options);
    if platforms(&plan.graph, &to_do).is_empty() {
        return Ok(ground);
    }
    check(&found, &plan.graph, &to_do, build).map(with_started)
}

/// Returns whether all steps are in the cache, if that is seen at once. Then trials would only cost
/// time.
fn is_done(build: &Build, main: &MainContext, plan: &Plan) -> Result<bool, PreflightError> {
    // Before contexts are opened for nothing.
    if plan.graph.looks_at_files() {
        return Ok(false);
    }
    let tools = Tools::new(build, main, plan, &Ground::default(), Arc::new(Silent), None)?;
    Ok(xbuild_solve::is_done(&plan.graph, &tools.stages(build), &plan.options))
}

/// Tries out what RUN steps of these platforms need, on the file system of the store. The helper of
/// the trial is returned if the build may go on with it.
fn probe(
    platforms: &BTreeSet<&Platform>,
    build: &Build,
) -> Result<(Capabilities, Option<Started>), PreflightError> {
    let architectures: BTreeSet<Arch> =
        platforms.iter().filter_map(|platform| Arch::of(platform)).collect();
    let architectures: Vec<Arch> = architectures.into_iter().collect();
    let folder = build.store.temp_dir("trial").map_err(|error| RunError::Layers(error.into()))?;
    let installed = emulators::installed_in(&build.store, &architectures);
    let (found, started) = Capabilities::probe_and_start(&Trials {
        architectures: &architectures,
        search_path: &build.machine.search_path,
        installed: &installed,
        folder: Ok(folder.path()),
        place: build.machine.place,
        own_root: build.machine.own_root(),
        isolation: build.request.steps.isolation,
    });
    let found = found.with_emulation(match build.request.steps.emulation {
        Emulation::Binfmt => xbuild_exec::probe::Emulation::Binfmt,
        Emulation::Intercept => xbuild_exec::probe::Emulation::Intercept,
        Emulation::Host => xbuild_exec::probe::Emulation::Host,
        _ => xbuild_exec::probe::Emulation::Auto,
    });
    Ok((found, started))
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
fn platforms<'a>(graph: &'a Graph, vertices: &[VertexId]) -> BTreeSet<&'a Platform> {
    vertices.iter().filter_map(|id| graph.vertex(*id).op.programs()).collect()
}

/// Checks whether these vertices can run here.
fn check(
    capabilities: &Capabilities,
    graph: &Graph,
    vertices: &[VertexId],
    build: &Build,
) -> Result<Ground, PreflightError> {
    let platforms = platforms(graph, vertices);
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
    let missing: Vec<Lack> =
        missing.chain(demands::unmet(graph, vertices, capabilities, choice.rung, build)).collect();
    if !missing.is_empty() {
        return Err(PreflightError::Lacks(missing));
    }
    let emulators = capabilities
        .emulators_for(platforms.iter().copied())
        .map_err(|(platform, gap)| PreflightError::Lacks(vec![cannot_run(&platform, &gap)]))?;
    let in_use = emulators::in_use(&platforms, capabilities, &emulators);
    Ok(Ground { emulators, in_use, choice: Some(choice), ..Ground::default() })
}
