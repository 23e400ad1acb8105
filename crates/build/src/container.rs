//! A command in an image, for somebody who sits in front of it: nothing is kept of it.
//!
//! It runs as a RUN step does, whose result nobody wants. The image is the base of a Dockerfile of
//! two lines, so it is found, checked and unpacked as that of a build.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_exec::{Rung, Sandbox, Streams};
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::run::{Exit, ReadyMount, ReadySource, RunRequest};
use xbuild_model::seam::{Output, Runner};
use xbuild_model::{Chain, FailureKind, Platform, StepFailure};
use xbuild_plan::{Output as Image, VertexId};
use xbuild_solve::Stages;
use xbuild_wording::hints;

use crate::build::Build;
use crate::error::{BuildError, Lack, PreflightError, RunError, StepError};
use crate::events::{Event, Events};
use crate::ground::Ground;
use crate::main_context::MainContext;
use crate::planning::Plan;
use crate::request::{
    Annotations, Attestations, BuildRequest, CacheRequest, ContextPlace, DockerfilePlace,
    InputRequest, NamedPlace, Pull, SourceRules, StepsRequest,
};
use crate::tools::Tools;
use crate::twins::Twinned;

/// The name of the image in the Dockerfile.
const IMAGE: &str = "image";

/// The Dockerfile that a container is planned with, for [`crate::read`].
pub const CONTAINER_DOCKERFILE: &[u8] = b"FROM image\nRUN [\"command\"]\n";

/// A command in an image. What is `None` is as the image says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The program that gets the arguments, with its own first ones.
    pub entrypoint: Option<Vec<String>>,
    /// The arguments; those of the image if there are none.
    pub arguments: Vec<String>,
    /// Variables over those of the image: name and value.
    pub env: Vec<(String, String)>,
    /// The working directory; absolute.
    pub cwd: Option<String>,
    /// The user, as in USER.
    pub user: Option<String>,
    /// Files and folders of this machine.
    pub volumes: Vec<Volume>,
}

/// A file or folder of this machine in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its path, absolute and without links.
    pub source: PathBuf,
    /// The place in the container; absolute and clean.
    pub target: String,
    /// Whether the command may not write.
    pub read_only: bool,
}

/// Returns the request whose plan a container runs with; `steps` say how.
pub fn container_request(
    image: NamedPlace,
    platform: Platform,
    pull: Pull,
    steps: StepsRequest,
) -> BuildRequest {
    BuildRequest {
        input: InputRequest {
            context: ContextPlace::Stdin,
            dockerfile: DockerfilePlace::InContext,
            own_dockerfiles: Vec::new(),
            contexts: [(IMAGE.to_owned(), image)].into(),
            build_args: Vec::new(),
            platforms: vec![platform],
            platform_is_implied: false,
            target: None,
            pull,
        },
        steps: StepsRequest { no_cache: true, ..steps },
        cache: CacheRequest::default(),
        labels: Vec::new(),
        annotations: Annotations::default(),
        tags: Vec::new(),
        attestations: Attestations::default(),
        sources: SourceRules::default(),
        platform_tags: Vec::new(),
        outputs: Vec::new(),
        push: false,
    }
}

/// Runs a command in the image of a plan that was made with [`container_request`], and returns how it
/// ended.
///
/// **Errors** — it could not be run.
pub fn run_container(
    build: &Build,
    main: &MainContext,
    plan: &Plan,
    ground: &Ground,
    container: &Container,
    streams: Streams,
) -> Result<Exit, BuildError> {
    let _span = build.span.enter();
    let rung = ground.choice.as_ref().map(|choice| choice.rung);
    refuse_volumes(container, rung)?;
    let tools = Tools::new(build, main, plan, ground, Arc::clone(&build.events), None)?;
    let twinned = Twinned::new(build, &plan.graph, ground, &tools);
    let runner = Attached {
        sandbox: &tools.sandbox,
        twinned: &twinned,
        events: &*build.events,
        container,
        image: &plan.graph.outputs[0],
        streams: Mutex::new(Some(streams)),
        exit: Mutex::new(None),
    };
    let stages = Stages { runner: &runner, ..tools.stages(build) };
    let solved = xbuild_solve::solve(&plan.graph, &stages, &plan.options, &Nobody);
    let exit = runner.exit.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (exit, solved) {
        (Some(exit), _) => Ok(exit),
        (None, Err(error)) => Err(RunError::from(StepError(error)).into()),
        (None, Ok(_)) => Err(RunError::Layers(ended()).into()),
    }
}

/// Refuses volumes where nothing can be mounted.
fn refuse_volumes(container: &Container, rung: Option<Rung>) -> Result<(), PreflightError> {
    match (container.volumes.first(), rung) {
        (Some(volume), Some(rung)) if !rung.has_mounts() => {
            Err(PreflightError::Lacks(vec![Lack {
                need: format!("-v {}:{}", volume.source.display(), volume.target),
                gap: xbuild_exec::probe::Gap {
                    why: format!("nothing can be mounted with the isolation {rung}"),
                    how_to_get: hints::doctor_on_mounts(),
                },
            }]))
        }
        _ => Ok(()),
    }
}

/// Runs the command in place of the plan's RUN. It fails in any case, so that no layer is made.
struct Attached<'a> {
    sandbox: &'a Sandbox,
    twinned: &'a Twinned<'a>,
    events: &'a dyn Events,
    container: &'a Container,
    image: &'a Image,
    /// Taken by the only command.
    streams: Mutex<Option<Streams>>,
    exit: Mutex<Option<Exit>>,
}

impl Runner for Attached<'_> {
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        _: &[ReadyMount],
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(streams) = streams else { return Err(ended()) };
        let request = self.request(request)?;
        let mounts: Vec<ReadyMount> = self.container.volumes.iter().map(mount).collect();
        // May pull the image for this machine.
        let natively = self.twinned.uncounted(&request, below, output)?;
        self.events.event(Event::Attached);
        let exit = self.sandbox.attach(root, &request, &mounts, streams, natively)?;
        *self.exit.lock().unwrap_or_else(PoisonError::into_inner) = Some(exit);
        Err(ended())
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        self.sandbox.is_emulated(platform)
    }
}

impl Attached<'_> {
    /// Returns the request of the command, from that of a RUN on the image.
    fn request(&self, run: &RunRequest) -> Result<RunRequest, StepFailure> {
        let (container, config) = (self.container, &self.image.config.config);
        let own = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let mut argv = container.entrypoint.clone().unwrap_or_else(|| own(&config.entrypoint));
        if !container.arguments.is_empty() {
            argv.extend(container.arguments.iter().cloned());
        } else if container.entrypoint.is_none() {
            // Another program would not know what to do with them.
            argv.extend(own(&config.cmd));
        }
        if argv.first().is_none_or(String::is_empty) {
            return Err(StepFailure::new(FailureKind::User, NoCommand));
        }
        let mut env = run.env.clone();
        for (name, value) in &container.env {
            match env.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => old.clone_from(value),
                None => env.push((name.clone(), value.clone())),
            }
        }
        Ok(RunRequest {
            argv,
            env,
            cwd: container.cwd.clone().unwrap_or_else(|| run.cwd.clone()),
            user: container.user.clone().unwrap_or_else(|| run.user.clone()),
            ..run.clone()
        })
    }
}

/// The image names no command, and neither does the caller.
#[derive(Debug, thiserror::Error)]
#[error("the image has no command: name one")]
struct NoCommand;

/// The end of a command, whose changes nobody wants.
#[derive(Debug, thiserror::Error)]
#[error("the command has ended")]
struct Over;

fn ended() -> StepFailure {
    StepFailure::new(FailureKind::Step, Over)
}

fn mount(volume: &Volume) -> ReadyMount {
    let source = ReadySource::Volume { path: volume.source.clone(), writable: !volume.read_only };
    ReadyMount { target: volume.target.clone(), source, special: Vec::new() }
}

/// Takes the events of the step, which has none of interest.
struct Nobody;

impl xbuild_solve::Events for Nobody {
    fn event(&self, _: VertexId, _: xbuild_solve::Event<'_>) {}
}
