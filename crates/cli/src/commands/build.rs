//! `xbuild build`: runs the stages of a build, one after the other.

use std::fs::{self, File};
use std::io::{self, Write};
use std::sync::Arc;

use xbuild_build::error::{BuildError, Fault};
use xbuild_build::request::Output;
use xbuild_build::{
    Build, Input, MainContext, Outcome, export, heal, may_push, plan, preflight, read,
    run as run_steps, save_cache,
};
use xbuild_wording::hints;

use super::build_args::OnErrorArg;
pub(crate) use super::build_args::{BuildArgs, refusal, refuse, with_refused};
use super::call::{self, Call};
use super::du::size;
use super::{build_request, destinations};
use crate::console::{Console, ProgressMode, Style};
use crate::progress::{Progress, Told};
use crate::report::Problem;
use crate::result::BuildResult;
use crate::shells::TerminalShells;
use crate::terminal;
use crate::traces::{self, Sending, Traces};
use crate::{ending, environment};

/// Builds an image.
pub(crate) fn run(args: &BuildArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let Some(built) = image(args, console, &mut io::stdin())? else { return Ok(()) };
    let result = BuildResult(&built.outcome);
    result.write_files(args.metadata_file.as_deref(), args.iidfile.as_deref())?;
    for (path, has_tags) in
        [(&args.image_name_with_digest_file, false), (&args.image_name_tag_with_digest_file, true)]
    {
        if let Some(path) = path {
            result.write_names(path, has_tags)?;
        }
    }
    built.print(args.quiet, console)
}

/// An image that was built.
struct BuiltImage {
    outcome: Outcome,
    progress: Arc<Progress>,
    /// Where it went.
    places: Vec<String>,
    /// Whether the digests go to standard output, which does not have the image itself.
    to_stdout: bool,
    /// The trace, which is waited for in the end.
    _sending: Sending,
}

impl BuiltImage {
    /// Prints the digests, and the end of the build.
    fn print(&self, quiet: bool, console: &Arc<Console>) -> Result<(), Problem> {
        BuildResult(&self.outcome).print(console, quiet, self.to_stdout)?;
        ending::show(console, &self.outcome, &self.progress.tally(), &self.places);
        Ok(())
    }
}

/// Builds an image; `None` if the arguments ask for another method, which is carried out then. `stdin` is read only if
/// the arguments name it.
fn image(
    args: &BuildArgs,
    console: &Arc<Console>,
    stdin: &mut Input<'_>,
) -> Result<Option<BuiltImage>, Problem> {
    let call = args.call()?;
    // A check, too, refuses arguments that no build takes.
    let request = build_request::request(args)?;
    let mut machine = args.registries.machine(args.store.root.as_deref())?;
    if call != Call::Build {
        call::run(call, &request.input, &machine, console, stdin)?;
        return Ok(None);
    }
    if args.on_error == OnErrorArg::Shell && !terminal::is_there() {
        return Err(Problem::command_line(
            "--on-error shell needs a terminal: standard input or output is none",
        ));
    }
    if args.progress() == ProgressMode::Tty && !matches!(console.style(), Style::Live(_)) {
        return Err(no_terminal());
    }
    destinations::look(&request.outputs, args.files())?;
    machine.secret_variables = environment::secret_variables(&request.steps.secrets);
    if let Some(path) = &args.log_file {
        let file = File::create(path).map_err(|error| Problem::file("create", path, &error))?;
        console.keep_log(file);
    }
    let to_stdout = !request.outputs.iter().any(Output::is_stdout);
    let places = ending::places(&request.outputs);
    let traces = Traces::new(console, &machine.proxies);
    let progress = Arc::new(Progress::new(Arc::clone(console)));
    traces.at_signal(traces::at_signal("xbuild build", &args.tag, &progress));
    let mut build = Build::open(request, machine, Arc::clone(&progress) as _)?;
    if args.on_error == OnErrorArg::Shell {
        build = build.with_shells(Arc::new(TerminalShells::new(Arc::clone(console))));
    }
    let ended = outcome(&build, stdin, &|label| progress.tail(label), &mut io::stdout());
    progress.finish();
    let told = Told {
        command: "xbuild build",
        names: &args.tag,
        failure: ended.as_ref().err().map(traces::failure),
        bytes: &|layer| build.layer_size(layer),
    };
    let sending = traces.send(|id| progress.trace(id, &told));
    let drawn = args.timeline.as_deref().map_or(Ok(()), |path| {
        let page = progress.timeline(&|layer| build.layer_size(layer));
        fs::write(path, page).map_err(|error| Problem::file("write", path, &error))
    });
    let outcome = match (ended, drawn) {
        (Ok(outcome), drawn) => drawn.map(|()| outcome)?,
        (Err(problem), Ok(())) => return Err(problem),
        (Err(problem), Err(other)) => return Err(problem.and(other)),
    };
    keep_bound(&build, console);
    Ok(Some(BuiltImage { outcome, progress, places, to_stdout, _sending: sending }))
}

/// Returns the problem of a frame without a terminal.
pub(super) fn no_terminal() -> Problem {
    Problem::command_line(
        "--progress tty needs a terminal: standard error is none, or one that cannot move its cursor",
    )
    .with_hint(hints::progress_without_terminal())
}

/// Does all stages of a build. `tail` returns the last lines of a step, `stdout` takes the outputs to
/// standard output.
pub(super) fn outcome(
    build: &Build,
    stdin: &mut Input<'_>,
    tail: &dyn Fn(&str) -> Vec<String>,
    stdout: &mut dyn Write,
) -> Result<Outcome, Problem> {
    let main = read(build, stdin)?;
    heal(build, || stages(build, &main, &mut *stdout)).map_err(|error| {
        let log = error.step().map(tail).unwrap_or_default();
        Problem::in_files(&error, &main.sources()).with_paths(&main.paths()).with_log(log)
    })
}

/// Keeps the bound on the store. The build has succeeded, whatever comes of it.
pub(super) fn keep_bound(build: &Build, console: &Console) {
    match build.keep_bound() {
        Ok(removed) if removed.is_empty() => {}
        Ok(removed) => {
            let bytes = size(removed.iter().map(|item| item.bytes).sum());
            console.line(format_args!("store: removed {bytes} that was not used for longest"));
        }
        Err(error) => {
            console.line(format_args!("warning: cannot keep the bound on the store: {error}"));
        }
    }
}

fn stages(
    build: &Build,
    main: &MainContext,
    stdout: &mut dyn Write,
) -> Result<Outcome, BuildError> {
    let plan = plan(build, main)?;
    may_push(build)?;
    let ground = preflight(build, main, &plan)?;
    let mut built = run_steps(build, main, &plan, &ground)?;
    let outcome = export(build, &built, stdout);
    save_cache(build, main, &plan, &mut built, outcome.is_ok());
    Ok(outcome?)
}
