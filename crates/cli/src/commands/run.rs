//! `xbuild run`: a command in an image, for a look or a test; nothing is kept of it.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::path::Path;
use std::sync::Arc;

use xbuild_build::error::{BuildError, RunError, StepError};
use xbuild_build::request::{Isolation, NamedPlace, StepsRequest};
use xbuild_build::{
    Build, CONTAINER_DOCKERFILE, Container, Event, Events, Machine, Shelf, Volume,
    container_request, plan, preflight, read, run_container,
};
use xbuild_exec::RunError as CommandError;
use xbuild_model::run::Exit;
use xbuild_model::{FailureKind, Platform};
use xbuild_plan::clean_path;
use xbuild_wording::quoted;

use super::build_args::{EmulationArg, NetworkArg, isolation};
use super::input::{PullArg, pull};
use crate::console::Console;
use crate::environment;
use crate::progress::{Failure, Progress, Told};
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, ProblemKind};
use crate::store_args::StoreArgs;
use crate::terminal;
use crate::traces::{self, Traces};

/// The status of a command that cannot be found, as of `docker run`.
const NOT_FOUND: u8 = 127;
/// The status of a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// The status of everything else that keeps a command from running.
const FAILED: u8 = 125;

/// The name of the command in traces.
const COMMAND: &str = "xbuild run";

/// The kernel's number for a file that is missing.
const NO_FILE: i32 = rustix::io::Errno::NOENT.raw_os_error();

/// The arguments of `xbuild run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// Pass standard input on
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Set a variable; without a value, to that of the environment variable (repeatable)
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Show a file or folder of this machine to the command: SOURCE:TARGET[:ro|:rw] (repeatable)
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// The working directory [default: the image's]
    #[arg(short, long, value_name = "FOLDER")]
    workdir: Option<String>,
    /// The user, and perhaps a group: NAME|UID[:GROUP|:GID] [default: the image's]
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// The program to start instead of the image's ENTRYPOINT; "" for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The platform of the image [default: this machine's]
    #[arg(long, value_name = "PLATFORM", env = "DOCKER_DEFAULT_PLATFORM", hide_env_values = true)]
    platform: Option<Platform>,
    /// Ask the registry for the image: always, if the store lacks it, or never; without it, unless a
    /// build here, a load or a tag gave the name
    #[arg(long, value_enum, value_name = "always|missing|never", hide_possible_values = true)]
    pull: Option<PullArg>,
    /// The network of the command
    #[arg(long, value_enum, default_value = "default")]
    network: NetworkArg,
    /// Show nothing of what is pulled
    #[arg(short, long)]
    quiet: bool,
    /// Keep nothing of the command, which is always so
    #[arg(long)]
    rm: bool,
    /// How the command is walled off, and the kind of its root file system, as for `xbuild build`
    #[arg(long, value_parser = isolation(), default_value = "auto", hide_possible_values = true, value_name = "auto|RUNG[/ROOT]")]
    isolation: Isolation,
    /// How programs of other processors get their emulator
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "XBUILD_EMULATION",
        hide_env_values = true
    )]
    emulation: EmulationArg,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    registries: RegistryArgs,
    /// An image of the store or of a registry, or oci-layout://DIR[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,
    /// The command and its arguments [default: the image's]
    #[arg(value_name = "COMMAND", trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs a command in an image. Its status becomes that of the program.
pub(crate) fn run(args: &RunArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match run_command(args, console) {
        Ok(Exit::Code(0)) => Ok(()),
        // A shell's way to tell of a signal.
        Ok(Exit::Signal(signal)) => Err(status(128 + signal)),
        Ok(Exit::Code(code)) => Err(status(code)),
        Err(Stopped::Before(problem)) => Err(shown(console, &problem, FAILED)),
        Err(Stopped::Build(error)) => Err(shown(console, &problem_of(&error), status_of(&error))),
    }
}

/// Why a command did not run.
enum Stopped {
    Before(Problem),
    Build(Box<BuildError>),
}

impl<E: Into<BuildError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Build(Box::new(error.into()))
    }
}

fn status(code: i32) -> Problem {
    Problem::new(ProblemKind::Exit(u8::try_from(code).unwrap_or(FAILED)), "")
}

/// Shows a problem, and returns one with that status that is shown already.
fn shown(console: &Console, problem: &Problem, status: u8) -> Problem {
    console.problem(problem);
    Problem::new(ProblemKind::Exit(status), "")
}

/// Returns an error without the lines of the Dockerfile, which nobody has written.
fn problem_of(error: &BuildError) -> Problem {
    match error {
        BuildError::Run(RunError::Step(StepError(error))) => Problem::in_files(&error.failure, &[]),
        other => Problem::in_files(other, &[]).without_place(),
    }
}

/// Returns the status that `docker run` has for an error.
fn status_of(error: &BuildError) -> u8 {
    let BuildError::Run(RunError::Step(StepError(error))) = error else { return FAILED };
    match error.failure.cause().downcast_ref::<CommandError>() {
        Some(CommandError::NotInPath { .. }) => NOT_FOUND,
        Some(CommandError::Execute { source, .. }) if source.number() == NO_FILE => NOT_FOUND,
        Some(
            CommandError::Execute { .. }
            | CommandError::NoInterpreter { .. }
            | CommandError::Format { .. },
        ) => NOT_EXECUTABLE,
        _ => FAILED,
    }
}

fn run_command(args: &RunArgs, console: &Arc<Console>) -> Result<Exit, Stopped> {
    let container = container(args).map_err(Stopped::Before)?;
    if args.tty && !terminal::is_there() {
        let problem =
            Problem::command_line("-t needs a terminal: standard input or output is none");
        return Err(Stopped::Before(problem));
    }
    if matches!(args.emulation, EmulationArg::Verify | EmulationArg::VerifyCross) {
        let problem = Problem::command_line(
            "--emulation verify compares the layers of a build, and a command makes none: use auto \
             or qemu",
        );
        return Err(Stopped::Before(problem));
    }
    let steps = StepsRequest {
        isolation: args.isolation,
        emulation: args.emulation.into(),
        network: args.network.into(),
        ..StepsRequest::default()
    };
    let root = args.store.root.as_deref();
    let machine = args.registries.machine(root).map_err(Stopped::Before)?;
    let image = NamedPlace::Image(image(args, &machine, console).map_err(Stopped::Before)?);
    let platform = args.platform.clone().unwrap_or_else(Platform::host);
    let request = container_request(image, platform, pull(args.pull), steps);
    let progress = Progress::of_transfers(console, args.quiet);
    let traces = Traces::new(console, &machine.proxies);
    let names = std::slice::from_ref(&args.image);
    traces.at_signal(traces::at_signal(COMMAND, names, &progress));
    let pulls = Arc::new(Pulls { console: Arc::clone(console), progress: Arc::clone(&progress) });
    let ended = Build::open(request, machine, pulls as _)
        .map_err(Stopped::from)
        .and_then(|build| attached(&build, args, &container));
    // An error is not written into a frame.
    progress.finish();
    let failure = failure(&ended);
    let told = Told { command: COMMAND, names, failure, bytes: &|_| None };
    drop(traces.send(|id| progress.trace(id, &told)));
    ended
}

/// Returns the name of the image, also if it is given by its digest alone.
fn image(args: &RunArgs, machine: &Machine, console: &Arc<Console>) -> Result<String, Problem> {
    let events = Arc::clone(console) as Arc<dyn Events>;
    let shelf = Shelf::existing_store(machine, &events)?;
    let known = shelf.and_then(|shelf| shelf.name_of_id(&args.image));
    Ok(match known {
        Some((name, digest)) => name.with_digest(&digest).to_string(),
        None => args.image.clone(),
    })
}

/// Returns what a trace tells of a command that failed, or did not run.
fn failure(ended: &Result<Exit, Stopped>) -> Option<Failure> {
    match ended {
        Ok(Exit::Code(0)) => None,
        Ok(Exit::Code(code)) => {
            Some(Failure { message: format!("exit code {code}"), exit: Some(*code) })
        }
        Ok(Exit::Signal(signal)) => {
            Some(Failure { message: format!("ended by signal {signal}"), exit: None })
        }
        Err(Stopped::Before(problem)) => Some(traces::failure(problem)),
        Err(Stopped::Build(error)) => Some(traces::failure(&problem_of(error))),
    }
}

fn attached(build: &Build, args: &RunArgs, container: &Container) -> Result<Exit, Stopped> {
    let main = read(build, &mut &*CONTAINER_DOCKERFILE)?;
    let plan = plan(build, &main)?;
    let ground = preflight(build, &main, &plan)?;
    let streams = match args.tty {
        true => terminal::terminal(args.interactive),
        false => terminal::three(args.interactive),
    };
    let (streams, copies) = streams.map_err(|error| {
        Stopped::Before(Problem::failure(
            FailureKind::Environment,
            format!("cannot connect the standard streams: {error}"),
        ))
    })?;
    let ended = run_container(build, &main, &plan, &ground, container, streams);
    copies.finish();
    Ok(ended?)
}

/// Shows the warnings, and what is pulled before the command begins.
struct Pulls {
    console: Arc<Console>,
    progress: Arc<Progress>,
}

impl Events for Pulls {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Warning(warning) => self.console.warning(warning),
            Event::Transfer(..) => self.progress.event(event),
            Event::Attached => self.progress.finish(),
            _ => {}
        }
    }
}

fn container(args: &RunArgs) -> Result<Container, Problem> {
    let mut env: Vec<(String, String)> = Vec::new();
    if args.tty {
        let term = environment::variable("TERM").unwrap_or_else(|| "xterm".to_owned());
        env.push(("TERM".to_owned(), term));
    }
    for text in &args.env {
        match text.split_once('=') {
            Some((name, value)) => env.push((name.to_owned(), value.to_owned())),
            // As with docker, a variable that is unset here is not set there.
            None => env.extend(environment::variable(text).map(|value| (text.clone(), value))),
        }
    }
    if let Some(folder) = args.workdir.as_ref().filter(|folder| !folder.starts_with('/')) {
        return Err(Problem::command_line(format!("-w {folder}: the folder must be absolute")));
    }
    let program = |text: &String| if text.is_empty() { Vec::new() } else { vec![text.clone()] };
    Ok(Container {
        entrypoint: args.entrypoint.as_ref().map(program),
        arguments: args.command.clone(),
        env,
        cwd: args.workdir.as_deref().map(clean_path),
        user: args.user.clone(),
        volumes: args.volume.iter().map(|text| volume(text)).collect::<Result<_, _>>()?,
    })
}

fn volume(text: &str) -> Result<Volume, Problem> {
    let fail = |why: &str| {
        Problem::command_line(format!("invalid -v {text}: {why}", text = quoted(&text)))
    };
    let mut parts = text.split(':');
    let (Some(source), Some(target)) = (parts.next(), parts.next()) else {
        return Err(fail("expected SOURCE:TARGET[:ro|:rw]"));
    };
    let read_only = match (parts.next(), parts.next()) {
        (None | Some("rw"), None) => false,
        (Some("ro"), None) => true,
        _ => return Err(fail("the options are ro and rw")),
    };
    if !source.starts_with(['/', '.']) {
        return Err(fail("named volumes are not implemented: begin a path with / or ./"));
    }
    let target = clean_path(target);
    if !target.starts_with('/') || target == "/" {
        return Err(fail("the target must be absolute, and not /"));
    }
    let source = Path::new(source)
        .canonicalize()
        .map_err(|error| Problem::file("show", Path::new(source), &error))?;
    Ok(Volume { source, target, read_only })
}
