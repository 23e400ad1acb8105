//! The engine and the sandbox of one build, joined: each knows the others as traits of `model`.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_exec::binfmt::Registration;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::{EmulationError, Options, Sandbox};
use xbuild_layer::Mtime;
use xbuild_model::file_op::FileOp;
use xbuild_plan::{Graph, Op, Span};
use xbuild_snapshot::{Engine, EngineOptions};
use xbuild_solve::{Beside, Stages};
use xbuild_store::GrowingBlob;

use crate::build::Build;
use crate::cache::{CacheBlobs, JoinedCache};
use crate::contexts;
use crate::error::RunError;
use crate::events::{Event, Events, Warning};
use crate::ground::Ground;
use crate::identities::BuildIdentities;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::request::ContextPlace;
use crate::transfers::told;

/// Takes the layers of the result while they are made.
pub(crate) type BlobSink = Arc<dyn Fn(GrowingBlob) + Send + Sync>;

/// The engine and the sandbox of one build.
pub(crate) struct Tools {
    /// Makes layers.
    pub(crate) engine: Engine,
    /// Runs commands. The first step that needs it starts it.
    pub(crate) sandbox: Arc<Sandbox>,
    cache: JoinedCache,
    identities: BuildIdentities,
}

impl Tools {
    /// Opens the contexts of a plan and joins engine and sandbox. `events` takes their warnings.
    pub(crate) fn new(
        build: &Build,
        main: &MainContext,
        plan: &Plan,
        ground: &Ground,
        events: Arc<dyn Events>,
        on_blob: Option<BlobSink>,
    ) -> Result<Self, RunError> {
        let named = &build.request.input.contexts;
        let is_local = !matches!(build.request.input.context, ContextPlace::Remote(_));
        let opened =
            contexts::open(&plan.graph, named, main, (&*build.fetcher, &build.gate), is_local)?;
        let identities = BuildIdentities {
            contexts: opened.iter().map(|(name, (_, id))| (name.clone(), id.clone())).collect(),
            secrets: Arc::clone(&build.secrets),
        };
        let contexts = opened.into_iter().map(|(name, (context, _))| (name, context)).collect();
        let sandbox = Arc::new(sandbox(build, ground)?);
        let owners = owners(&plan.graph);
        let (on_hidden, on_transfer) = (Arc::clone(&events), told(&events));
        let (imports, mounts) = (Arc::clone(&build.imports), Arc::clone(&build.mount_caches));
        let options = EngineOptions {
            contexts,
            sources: Some(Arc::clone(&build.fetcher) as _),
            default_mtime: default_mtime(plan.options.epoch),
            // The first form is the one that the engine makes.
            encoding: build.variants[0].layers.encoding,
            on_blob,
            on_transfer,
            on_warning: Arc::new(move |warning| {
                let spans = warning.owner().and_then(|name| owners.get(name));
                let spans = spans.cloned().unwrap_or_default();
                let warning = warning.clone();
                events.event(Event::Warning(&Warning::Copy { warning, spans }));
            }),
            own_root: ground.choice.as_ref().and_then(|choice| choice.spared.clone()),
            on_hidden: Arc::new(move |path| {
                on_hidden.event(Event::Warning(&Warning::Hidden(path.clone())));
            }),
            find_mount: Some(Arc::new(move |key| mounts.find(key))),
            on_wrong: Arc::new(move |layer, error| imports.note_wrong(layer, error)),
            cancel: build.cancel.clone(),
            siblings: build.membership.as_ref().map(|one| one.batch.siblings.clone()),
            ..EngineOptions::default()
        };
        let store = Arc::clone(&build.store);
        let blobs = Arc::new(CacheBlobs::new(&build.client, &build.imports));
        let engine = Engine::new(store, blobs, sandbox.clone(), options);
        build.imports.register(&engine);
        let cache = JoinedCache {
            store: Arc::clone(&build.store),
            imports: Arc::clone(&build.imports),
            engine: engine.clone(),
        };
        Ok(Self { engine, sandbox, cache, identities })
    }

    /// Returns the stages that `solve` calls.
    pub(crate) fn stages<'a>(&'a self, build: &'a Build) -> Stages<'a> {
        Stages {
            cache: &self.cache,
            last_runs: &*build.store,
            snapshots: &self.engine,
            runner: &*self.sandbox,
            secrets: &*build.secrets,
            cancel: &build.cancel,
            beside: build.membership.as_ref().map(|one| Beside {
                steps: &one.batch.steps,
                build: one.number,
                identities: &self.identities,
            }),
        }
    }
}

/// Returns a sandbox on the ground that was found. Its first user gets the helper of the trial.
fn sandbox(build: &Build, ground: &Ground) -> Result<Sandbox, EmulationError> {
    Ok(Sandbox::new(Options {
        isolation: build.request.steps.isolation,
        choice: ground.choice.clone(),
        started: ground.started.lock().unwrap_or_else(PoisonError::into_inner).take(),
        emulators: load(&ground.emulators.registered)?,
        intercepted: load(&ground.emulators.intercepted)?,
        network: build.request.steps.network,
        search_path: build.machine.search_path.clone(),
        cancel: build.cancel.clone(),
    }))
}

/// Returns where each user and group is written that new files are given to.
fn owners(graph: &Graph) -> BTreeMap<String, Vec<Span>> {
    let mut owners: BTreeMap<String, Vec<Span>> = BTreeMap::new();
    for vertex in &graph.vertices {
        let Op::Files { op, .. } = &vertex.op else { continue };
        let owner = match op {
            FileOp::Copy(copy) => copy.chown.as_deref().unwrap_or_default(),
            FileOp::MakeDir(folder) => &folder.user,
            FileOp::Pick { .. } => continue,
        };
        for name in owner.split(':') {
            let spans = owners.entry(name.to_owned()).or_default();
            if !spans.contains(&vertex.span) {
                spans.push(vertex.span.clone());
            }
        }
    }
    owners
}

/// Returns the time of files without a time of their own: the epoch, else now.
fn default_mtime(epoch: Option<u64>) -> Mtime {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Mtime { secs: i64::try_from(epoch.unwrap_or_else(now)).unwrap_or(i64::MAX), nanos: 0 }
}

/// Loads emulators into memory, where steps cannot change them.
fn load(emulators: &[Emulator]) -> Result<Vec<Registration>, EmulationError> {
    emulators.iter().map(Emulator::registration).collect()
}
