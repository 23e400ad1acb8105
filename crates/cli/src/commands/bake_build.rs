//! Building the targets of a selection at the same time, in one process and with one store: each step that
//! targets have in common is done once.
//!
//! A target that is a context of others is built before them. Its image stays in a layout of the store's
//! temporary folder, where the others find it. The first failure ends all builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use xbuild_bake::{Options as Output, Selection, Target};
use xbuild_build::error::OpenError;
use xbuild_build::request::Output as BuildOutput;
use xbuild_build::{Batch, Build, BuildRequest, Events, Machine, Outcome};
use xbuild_model::{Platform, thread};
use xbuild_store::TempFolder;
use xbuild_wording::hints;

use super::bake_queue::{self, DEFAULT, Queue, Work};
use super::bake_target::{self, Line};
use super::build_args::BuildArgs;
use super::call::{self, Call};
use super::{build, build_line, build_request};
use crate::console::{Console, ProgressMode, Style};
use crate::ending::{self, Ended};
use crate::environment;
use crate::progress::{Progress, Told};
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::result::BuildResult;
use crate::store_args::StoreArgs;
use crate::traces::{self, Traces};

/// How many targets are at work at once. Each may have a user namespace with its processes.
const AT_ONCE: usize = 16;

/// What all targets have in common.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) progress: ProgressMode,
    pub(super) metadata_file: Option<&'a Path>,
    /// How many steps run at once, of all targets together.
    pub(super) jobs: Option<NonZeroUsize>,
    pub(super) registries: &'a RegistryArgs,
    pub(super) store: &'a StoreArgs,
}

/// Builds all targets of a selection, or checks them.
pub(super) fn run(
    selection: &Selection,
    options: &Options<'_>,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    if options.progress == ProgressMode::Tty && !matches!(console.style(), Style::Live(_)) {
        return Err(build::no_terminal());
    }
    let works = bake_queue::works(selection);
    let is_check = refuse(&works)?;
    let (checks, works): (Vec<Work<'_>>, Vec<Work<'_>>) = works
        .into_iter()
        .partition(|work| work.as_context.is_none() && is_check.contains(work.name));
    let machine = options.registries.machine(options.store.root.as_deref())?;
    let bake = Bake { options, console, machine };
    let (layouts, built) = match works.is_empty() {
        true => (Layouts::default(), Ok(())),
        false => bake.build_all(works)?,
    };
    built?;
    checks.iter().try_for_each(|work| {
        let checked = bake.check(work, &layouts.links);
        checked.map_err(|problem| problem.of_target(work.name))
    })
}

/// Says what no build takes before any begins. Returns the targets that are checked instead of built.
fn refuse<'a>(works: &[Work<'a>]) -> Result<BTreeSet<&'a str>, Problem> {
    let (mut is_check, mut to_stdout) = (BTreeSet::new(), Vec::new());
    for work in works {
        let name = work.name;
        let mut look = || {
            let line = bake_target::line(work.target, &BTreeMap::new())?;
            let args = build_line::parse(&line.args)?;
            let is_to_stdout = |text: &String| {
                crate::values::output::parse(text).is_ok_and(|output| output.is_stdout())
            };
            if work.as_context.is_none() && args.output.iter().any(is_to_stdout) {
                to_stdout.push(name);
            }
            if args.call()? != Call::Build {
                is_check.insert(name);
            }
            Ok(())
        };
        look().map_err(|problem: Problem| problem.of_target(name))?;
    }
    match to_stdout.len() {
        0 | 1 => Ok(is_check),
        _ => {
            let message = format!("targets {} write to standard output", to_stdout.join(" and "));
            Err(Problem::input(message).with_hint(hints::outputs_to_files()))
        }
    }
}

/// The layouts of targets that are contexts.
#[derive(Default)]
struct Layouts {
    /// By target.
    links: BTreeMap<String, String>,
    /// It goes when it is dropped, or with the next start after a kill.
    _folder: Option<TempFolder>,
}

/// The options, console and machine that the builds share.
struct Bake<'a> {
    options: &'a Options<'a>,
    console: &'a Arc<Console>,
    machine: Machine,
}

/// A target that was built.
struct Built {
    build: Build,
    outcome: Outcome,
    /// Where it went.
    places: Vec<String>,
    /// Whether its digests go to standard output, which does not have the image itself.
    to_stdout: bool,
}

/// The builds of several targets.
struct Running<'a> {
    bake: &'a Bake<'a>,
    batch: Arc<Batch>,
    queue: Queue<'a>,
    progress: Arc<Progress>,
    /// Whether there is more than one.
    are_several: bool,
    folder: TempFolder,
    results: Mutex<Results<'a>>,
}

#[derive(Default)]
struct Results<'a> {
    built: BTreeMap<&'a str, Built>,
    /// The first failure.
    problem: Option<Problem>,
}

impl Bake<'_> {
    /// Builds targets, and shows what came of them.
    #[allow(clippy::type_complexity, reason = "the second is the outcome")]
    fn build_all(&self, works: Vec<Work<'_>>) -> Result<(Layouts, Result<(), Problem>), Problem> {
        let events = Arc::clone(self.console) as Arc<dyn Events>;
        let batch = Batch::open(&self.machine, self.options.jobs, &events)?;
        let folder = batch.store().temp_dir("bake");
        let folder = folder.map_err(OpenError::from)?;
        let count = works.len();
        let running = Running {
            bake: self,
            batch,
            queue: Queue::new(works),
            progress: Arc::new(Progress::of_several(Arc::clone(self.console))),
            are_several: count > 1,
            folder,
            results: Mutex::default(),
        };
        let traces = Traces::new(self.console, &self.machine.proxies);
        traces.at_signal(traces::at_signal("xbuild bake", &[], &running.progress));
        thread::share("target", count.min(AT_ONCE), || running.work());
        running.progress.finish();
        let Running { queue, progress, folder, results, .. } = running;
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        let any = results.built.values().next();
        let told = Told {
            command: "xbuild bake",
            names: &[],
            failure: results.problem.as_ref().map(traces::failure),
            bytes: &|layer| any?.build.layer_size(layer),
        };
        // It is on its way while the results are shown, and waited for in the end.
        let _sending = traces.send(|id| progress.trace(id, &told));
        let shown = self.show(&results, &progress, count > 1);
        let Results { built, problem } = results;
        if problem.is_none()
            && let Some(last) = built.into_values().next_back()
        {
            build::keep_bound(&last.build, self.console);
        }
        let layouts = Layouts { links: queue.links(), _folder: Some(folder) };
        Ok((layouts, problem.map_or(shown, Err)))
    }

    /// Shows the results of all targets, or which were done before one failed.
    fn show(
        &self,
        results: &Results<'_>,
        progress: &Progress,
        are_several: bool,
    ) -> Result<(), Problem> {
        let Results { built, problem } = results;
        if problem.is_some() {
            let names: Vec<&str> = built.keys().copied().collect();
            if !names.is_empty() {
                self.console.line(format_args!("done before the failure: {}", names.join(", ")));
            }
            return Ok(());
        }
        let mut metadata = Map::new();
        let mut ended = Vec::new();
        for (name, one) in built {
            let result = BuildResult(&one.outcome);
            metadata.insert((*name).to_owned(), result.metadata());
            let is_quiet = self.options.progress == ProgressMode::Quiet;
            let name = are_several.then_some(*name);
            result.print_named(self.console, name, is_quiet, one.to_stdout)?;
            ended.push(Ended { name, outcome: &one.outcome, places: &one.places });
        }
        ending::show_all(self.console, &ended, &progress.tally());
        if let Some(path) = self.options.metadata_file {
            let text = format!("{:#}\n", Value::Object(metadata));
            fs::write(path, text).map_err(|error| Problem::file("write", path, &error))?;
        }
        Ok(())
    }

    /// Checks the Dockerfile of a target.
    fn check(&self, work: &Work<'_>, links: &BTreeMap<String, String>) -> Result<(), Problem> {
        let line = bake_target::line(work.target, links)?;
        let args = self.args(&line)?;
        let request = build_request::request(&args)?;
        let call = args.call()?;
        call::run(call, &request.input, &self.machine, self.console, &mut *stdin(&line))
    }

    fn args(&self, line: &Line) -> Result<BuildArgs, Problem> {
        let mut args = build_line::parse(&line.args)?;
        args.jobs.jobs = self.options.jobs;
        // The file is written for all targets, at the end; what it has is asked for here.
        args.metadata_file = self.options.metadata_file.map(Path::to_path_buf);
        Ok(args)
    }
}

impl<'a> Running<'a> {
    /// Builds targets until none is left.
    fn work(&self) {
        while let Some(work) = self.queue.take() {
            // A panic, too, ends all: somebody may wait for this target.
            let guard = EndOnDrop(self);
            let layout = match self.build(&work) {
                Ok((layout, built)) => {
                    let mut results = self.results();
                    results.built.extend(built.map(|built| (work.name, built)));
                    layout
                }
                Err(problem) => {
                    self.end(problem.of_target(work.name));
                    None
                }
            };
            self.queue.done(work.name, layout);
            std::mem::forget(guard);
        }
    }

    /// Ends all builds. The failures of others are consequences of the first.
    fn end(&self, problem: Problem) {
        if self.batch.end() {
            self.results().problem = Some(problem);
        }
        self.queue.end();
    }

    fn results(&self) -> MutexGuard<'_, Results<'a>> {
        // The value is whole at any time.
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a target, for itself or as a context of others: then its layout is returned.
    fn build(&self, work: &Work<'_>) -> Result<(Option<String>, Option<Built>), Problem> {
        let links = self.queue.links();
        let Some(platforms) = &work.as_context else {
            let line = bake_target::line(work.target, &links)?;
            return Ok((None, Some(self.image(work.name, &line)?)));
        };
        let dest = self.folder.path().join(work.name).display().to_string();
        let line = bake_target::line(&linked(work.target, platforms, &dest), &links)?;
        self.image(work.name, &line)?;
        Ok((Some(format!("oci-layout://{dest}")), None))
    }

    fn image(&self, name: &str, line: &Line) -> Result<Built, Problem> {
        let args = self.bake.args(line)?;
        let request: BuildRequest = build_request::request(&args)?;
        let mut machine = self.bake.machine.clone();
        machine.secret_variables = environment::secret_variables(&request.steps.secrets);
        let places = ending::places(&request.outputs);
        let to_stdout = !request.outputs.iter().any(BuildOutput::is_stdout);
        let progress = self.progress.build(self.are_several.then_some(name));
        let events = Arc::clone(&progress) as Arc<dyn Events>;
        let build = Build::open_in(Some(&self.batch), request, machine, events)?.with_name(name);
        let tail = |label: &str| progress.tail(label);
        let outcome = build::outcome(&build, &mut *stdin(line), &tail, &mut io::stdout())?;
        Ok(Built { build, outcome, places, to_stdout })
    }
}

/// Ends all builds when it is dropped.
struct EndOnDrop<'r, 'a>(&'r Running<'a>);

impl Drop for EndOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.batch.end();
        self.0.queue.end();
        self.0.queue.done("", None);
    }
}

/// Returns the standard input of a build, which has its Dockerfile if that is part of the target.
fn stdin(line: &Line) -> Box<dyn Read + Send> {
    match &line.dockerfile {
        Some(text) => Box::new(io::Cursor::new(text.clone())),
        None => Box::new(io::empty()),
    }
}

/// Returns a target as it is built for others: into a layout, and for their `platforms` unless it has its
/// own.
fn linked(target: &Target, platforms: &BTreeSet<&str>, dest: &str) -> Target {
    let options = [("dest", dest), ("tar", "false"), ("compression", "uncompressed")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let output = Output { kind: "oci".to_owned(), attributes: options.into() };
    let mut linked =
        Target { output: Some(vec![output]), tags: None, call: None, ..target.clone() };
    if linked.platforms.as_ref().is_none_or(Vec::is_empty) {
        let given = environment::variable("DOCKER_DEFAULT_PLATFORM");
        let own = given.unwrap_or_else(|| Platform::host().to_string());
        let name = |platform: &&str| match *platform {
            DEFAULT => own.clone(),
            platform => platform.to_owned(),
        };
        let platforms: BTreeSet<String> = platforms.iter().map(name).collect();
        linked.platforms = Some(platforms.into_iter().collect());
    }
    linked
}
