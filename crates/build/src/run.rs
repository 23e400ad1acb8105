//! Running the steps of a plan.

use std::borrow::Cow;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::display;
use tracing::info;
use xbuild_attest::Facts;
use xbuild_model::rootfs::RootKind;
use xbuild_model::{Digest, StepFailure, StepRecord};
use xbuild_plan::{Graph, VertexId};
use xbuild_snapshot::Engine;
use xbuild_solve::{BuiltImage, SolveOptions, Stages};

use crate::batch::RootTurn;
use crate::build::Build;
use crate::cache::CacheExports;
use crate::emulators::EmulatorInUse;
use crate::error::{RunError, StepError};
use crate::events::{Event, Events, Warning};
use crate::ground::Ground;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::provenance;
use crate::push_ahead::PushAhead;
use crate::request::{BuildRequest, LayerForm};
use crate::rescue::Rescued;
use crate::sbom;
use crate::tools::Tools;
use crate::twins::{Twinned, Verified};
use crate::wiring;

/// The images of a build, and the engine that has their layers.
pub struct Solved {
    pub(crate) engine: Engine,
    /// An image for each platform, in the order of the request.
    pub(crate) images: Vec<BuiltImage>,
    /// `SOURCE_DATE_EPOCH`, in seconds since 1970.
    pub(crate) epoch: Option<u64>,
    /// What each image was made of; none if nobody asks.
    pub(crate) facts: Vec<Facts>,
    /// The shared caches that are being written.
    pub(crate) cache: Option<CacheExports>,
    /// The root of the container, which other builds have when this is dropped, after the engine.
    _root: Option<RootTurn>,
}

impl Solved {
    /// Returns the images with the layers that a form asks for, uncompressed: in new layers, times
    /// after `SOURCE_DATE_EPOCH` may have to be that time. Layers of base images stay.
    pub(crate) fn images(&self, form: LayerForm) -> Result<Cow<'_, [BuiltImage]>, StepFailure> {
        let Some(epoch) = self.epoch.filter(|_| form.clamp_times) else {
            return Ok(Cow::Borrowed(&self.images));
        };
        let clamped = self.images.iter().map(|image| {
            let mut image = image.clone();
            let new = image.layers.0.split_off(image.base_layers);
            image.layers.0.extend(self.engine.clamped(new, epoch, form.encoding)?);
            image.config.rootfs.diff_ids.clone_from(&image.layers.0);
            Ok(image)
        });
        clamped.collect::<Result<_, _>>().map(Cow::Owned)
    }
}

impl std::fmt::Debug for Solved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solved").field("images", &self.images).finish_non_exhaustive()
    }
}

/// Passes the events of steps on, and their results to shared caches.
struct Steps<'a> {
    events: &'a dyn Events,
    graph: &'a Graph,
    cache: Option<&'a CacheExports>,
}

impl xbuild_solve::Events for Steps<'_> {
    fn event(&self, vertex: VertexId, event: xbuild_solve::Event<'_>) {
        self.events.event(Event::Step { vertex, event });
    }

    fn result(&self, vertex: VertexId, key: &Digest, result: &StepRecord) {
        if let Some(cache) = self.cache {
            cache.take(self.graph, vertex, key, result);
        }
    }
}

/// Runs the steps of a plan on the ground that [`preflight`](crate::preflight()) found. If the image is pushed,
/// its layers are sent while steps run.
pub fn run(
    build: &Build,
    main: &MainContext,
    plan: &Plan,
    ground: &Ground,
) -> Result<Solved, RunError> {
    let _span = build.span.enter();
    let _root = ground.root.lock().unwrap_or_else(PoisonError::into_inner).take();
    let ahead = PushAhead::of(build);
    let sink = ahead.as_ref().map(PushAhead::sink);
    let tools = Tools::new(build, main, plan, ground, Arc::clone(&build.events), sink)?;
    if let Some(choice) = &ground.choice {
        build.events.event(Event::Isolation(choice));
    }
    for emulator in &ground.in_use {
        tell(emulator);
        build.events.event(Event::Emulator(emulator));
    }
    build.events.event(Event::Planned(&plan.graph));
    let mut cache = CacheExports::of(build, &tools.engine);
    let images = solve(build, plan, ground, &tools, cache.as_ref());
    sweep(build, &tools);
    if images.is_err()
        && let Some(cache) = &mut cache
    {
        // The next build need not do again what was done.
        cache.finish();
    }
    let images = images.map_err(StepError)?;
    tools.sandbox.retire_steps();
    tools.engine.settle().map_err(RunError::Layers)?;
    if let Some(cache) = &cache {
        cache.wait_for_images();
    }
    if let Some(ahead) = ahead {
        ahead.finish();
    }
    if asks_for_inline(&build.request) {
        build.events.event(Event::Warning(&Warning::NoInline));
    }
    if build.request.attestations.sbom && sbom::asks_for_more(build, main) {
        build.events.event(Event::Warning(&Warning::OnlyImage));
    }
    let asked = &build.request.attestations;
    let facts = match asked.provenance.is_some() || asked.for_metadata.is_some() {
        true => provenance::facts(build, main, &plan.graph, &images)?,
        false => Vec::new(),
    };
    Ok(Solved { engine: tools.engine, images, epoch: plan.options.epoch, facts, cache, _root })
}

fn solve(
    build: &Build,
    plan: &Plan,
    ground: &Ground,
    tools: &Tools,
    cache: Option<&CacheExports>,
) -> Result<Vec<BuiltImage>, Box<xbuild_solve::SolveError>> {
    let options = options(plan, ground);
    let twinned = Twinned::new(build, &plan.graph, ground, tools);
    let stages = Stages { runner: &twinned, ..tools.stages(build) };
    let verified = build.request.steps.emulation.is_verified().then(|| Verified::new(&twinned));
    let stages = match &verified {
        Some(verified) => Stages { runner: verified, snapshots: verified, ..stages },
        None => stages,
    };
    let steps = Steps { events: &*build.events, graph: &plan.graph, cache };
    let rescued = build.shells.as_ref().map(|shells| Rescued {
        runner: stages.runner,
        sandbox: &tools.sandbox,
        shells: &**shells,
        cancel: &build.cancel,
        terminal: Mutex::default(),
    });
    let stages = match &rescued {
        Some(rescued) => Stages { runner: rescued, ..stages },
        None => stages,
    };
    let solved = xbuild_solve::solve(&plan.graph, &stages, &options, &steps);
    let (usage, steps) = twinned.usage();
    if steps > 0 {
        build.events.event(Event::Emulated { usage: &usage, steps });
    }
    solved
}

/// Returns the options of the plan. In the root of the container there is room for one stage at a
/// time.
fn options(plan: &Plan, ground: &Ground) -> SolveOptions {
    let mut options = plan.options.clone();
    if ground.choice.as_ref().is_some_and(|choice| choice.root == RootKind::Own) {
        options.jobs = NonZeroUsize::MIN;
    }
    options
}

/// Writes an emulator to the log.
fn tell(used: &EmulatorInUse) {
    let digest = used.emulator().map(|emulator| display(&emulator.digest));
    let version = used.emulator().and_then(|emulator| emulator.version.as_deref());
    let (platforms, executor) = (used.platforms(), &used.executor);
    info!(platforms, %executor, digest, version, "emulator");
}

/// Removes the work of killed builds, also after a step that failed. Opening the store has removed
/// most of it; files of other ids take a user namespace, which is started if there are any.
fn sweep(build: &Build, tools: &Tools) {
    let leftovers = build.store.leftovers();
    if let Err(failure) = wiring::remove_leftovers_in(&*tools.sandbox, &leftovers) {
        build.events.event(Event::Warning(&Warning::Leftovers(failure)));
    }
}

/// Returns whether a build argument asks for a cache within the image, and nothing for another one.
fn asks_for_inline(request: &BuildRequest) -> bool {
    let is_on = |value: &str| !matches!(value, "" | "0" | "f" | "F" | "false" | "False" | "FALSE");
    let mut args = request.input.build_args.iter();
    request.cache.to.is_empty()
        && args.any(|(name, value)| name == "BUILDKIT_INLINE_CACHE" && is_on(value))
}
