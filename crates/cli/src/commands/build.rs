//! `xbuild build`: the pipeline from end to end.

use std::sync::Arc;

use xbuild_build::events::Events;
use xbuild_build::export::Exporter;
use xbuild_build::main_context::{Elsewhere, MainContext};
use xbuild_build::output::Output;
use xbuild_build::planning::{self, Unplanned};
use xbuild_build::push_ahead::PushAhead;
use xbuild_build::secrets::GivenSecrets;
use xbuild_build::wiring::{self, SandboxOptions};
use xbuild_build::{contexts, linting, preflight, project};
use xbuild_exec::Isolation;
use xbuild_exec::emulator::Emulator;
use xbuild_model::FailureKind;
use xbuild_plan::{Graph, Images};
use xbuild_solve::{SolveOptions, Stages};

pub(crate) use super::build_args::{BuildArgs, refuse, with_refused};
use super::build_args::{Call, IsolationArg};
use super::build_options::BuildOptions;
use super::check;
use crate::console::Console;
use crate::environment;
use crate::progress::{Progress, ProgressMode};
use crate::report::{Problem, note};
use crate::result::BuildResult;

/// Builds what the arguments say.
pub(crate) fn run(args: BuildArgs) -> Result<(), Problem> {
    match args.call()? {
        Call::Build => {}
        Call::Check(format) => return check::check(&args.input, &args.store, format),
    }
    let mut options = BuildOptions::new(&args)?;
    let machine = environment::machine(args.store.root.as_deref())?;
    let mode = if args.quiet { ProgressMode::None } else { args.progress };
    let console = Arc::new(Console { quiet: mode == ProgressMode::None });
    let secrets = GivenSecrets::read(&args.secret, &args.ssh, &machine, &*console)?;
    let secrets = Arc::new(secrets);
    let store = wiring::store(machine.store_root()?)?;
    let client = wiring::client(&machine, Some(&store))?;
    let given = Some(secrets.clone() as _);
    let fetcher = wiring::fetcher(&machine, &store, &client, given, console.clone());
    let elsewhere = Elsewhere { store: store.clone(), fetcher: fetcher.clone() };
    let place = &options.contexts[""];
    let main = MainContext::open(place, args.input.file.as_deref(), &|| Ok(elsewhere.clone()))?;
    options.plan.context_epoch = main.modified.map(|time| time.to_string());
    let file = &main.file;
    let source = String::from_utf8_lossy(&file.text).into_owned();
    let dockerfile = planning::parse(&file.name, &file.text, &source)?;
    let checks = linting::checks(&dockerfile, &options.plan)?;
    let mut images = Images::default();
    let graph = planning::plan(&dockerfile, &options.plan, &client, &source, &mut images);
    let ignore = file.ignore.as_deref();
    let warnings = linting::all(&dockerfile, &options.plan, &images, &checks, ignore)?;
    console.diagnostics(&warnings, &source);
    let graph = graph.map_err(Unplanned::into_problem)?;
    linting::fail(&checks, &warnings)?;
    let epoch = epoch(&graph)?;
    graph.warnings.iter().for_each(|warning| console.warning(&warning.to_string()));
    let solve_options = SolveOptions {
        project: project::digest(place, args.input.file.is_some(), &file.name),
        jobs: options.jobs,
        no_cache: args.no_cache,
        epoch,
    };
    let (isolation, network) = (isolation(args.isolation), options.plan.network);
    // The main form is the one that the engine makes.
    let target = options.variants[0].names.first().filter(|_| options.push);
    let push_ahead = target.map(|target| PushAhead::new(&client, target));
    // The engine and the namespace, which starts nothing before it is used.
    let engine = |emulators: &[Emulator], events: Arc<Console>| {
        let namespace = wiring::namespace(&SandboxOptions {
            isolation,
            emulators,
            network,
            search_path: &machine.search_path,
        })?;
        let main = (main.folder.as_path(), ignore);
        let contexts = contexts::open(&graph, &options.contexts, main, &*fetcher)?;
        let (parent, sources) = (namespace.clone(), fetcher.clone());
        let encoding = options.variants[0].layers.encoding;
        let on_blob = push_ahead.as_ref().map(PushAhead::sink);
        let setup = wiring::EngineSetup { contexts, sources, encoding, epoch, events, on_blob };
        let engine = wiring::engine(&store, &client, parent, setup);
        Ok((engine, namespace))
    };
    let to_do = || {
        let (engine, namespace) = engine(&[], Arc::new(Console { quiet: true }))?;
        let stages = Stages {
            cache: &*store,
            last_runs: &*store,
            snapshots: &engine,
            runner: &*namespace,
            secrets: &*secrets,
        };
        Ok(xbuild_solve::to_do(&graph, &stages, &solve_options))
    };
    let emulators = match args.isolation {
        IsolationArg::None => refuse_run(&graph, &source).map(|()| Vec::new())?,
        _ => preflight::check(&graph, &machine.search_path, to_do)?,
    };
    let (engine, namespace) = engine(&emulators, console.clone())?;
    let stages = Stages {
        cache: &*store,
        last_runs: &*store,
        snapshots: &engine,
        runner: &*namespace,
        secrets: &*secrets,
    };
    let progress = Progress::new(&graph, mode);
    let images =
        xbuild_solve::solve(&graph, &stages, &solve_options, &progress).map_err(|error| {
            Problem::step(&error.failure)
                .during(&error.label)
                .at(&error.span, &source)
                .with_log(progress.tail(&error.label))
        })?;
    if graph.vertices.iter().any(|vertex| vertex.op.is_run()) {
        // What killed builds left behind may take a namespace to remove: steps need one anyhow.
        if let Err(failure) = wiring::remove_leftovers_in(&namespace, &store.leftovers()) {
            note(format_args!("warning: leftovers of a killed build stay: {failure}"));
        }
    }
    engine.settle().map_err(|failure| Problem::of(failure.kind(), &failure))?;
    if let Some(ahead) = push_ahead {
        ahead.finish();
    }
    let exporter = Exporter {
        store: &store,
        client: &client,
        engine: &engine,
        images: &images,
        events: &*console,
    };
    let main = exporter.write(&options.variants, &options.annotations, options.push)?;
    store.settle().map_err(|error| Problem::of(FailureKind::Internal, &error))?;
    let result = BuildResult { assembled: &main, names: &options.names, pushed: options.push };
    result.write_files(args.metadata_file.as_deref(), args.iidfile.as_deref())?;
    let to_stdout = !options.outputs.iter().any(Output::is_stdout);
    result.print(args.quiet, to_stdout)
}

fn isolation(arg: IsolationArg) -> Isolation {
    match arg {
        IsolationArg::Auto => Isolation::Auto,
        IsolationArg::UsernsRange => Isolation::UsernsRange,
        IsolationArg::UsernsSingle => Isolation::UsernsSingle,
        IsolationArg::None => Isolation::None,
    }
}

/// Refuses a plan with RUN steps where there is nowhere to run them.
fn refuse_run(graph: &Graph, source: &str) -> Result<(), Problem> {
    let run = graph.vertices.iter().find(|vertex| vertex.op.is_run());
    match run {
        None => Ok(()),
        Some(vertex) => Err(Problem::failure(
            FailureKind::Environment,
            format!("{}: --isolation none has nowhere to run commands", vertex.label),
        )
        .at(&vertex.span, source)),
    }
}

/// Returns `SOURCE_DATE_EPOCH` in seconds.
fn epoch(graph: &Graph) -> Result<Option<u64>, Problem> {
    /// The last second of the year 9999, the last that RFC 3339 can write.
    const LAST: u64 = 253_402_300_799;
    let Some(text) = graph.source_date_epoch.as_deref().filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    match text.parse() {
        Ok(seconds) if seconds <= LAST => Ok(Some(seconds)),
        _ => Err(Problem::command_line(format!(
            "invalid SOURCE_DATE_EPOCH {text:?}: expected whole seconds since 1970"
        ))),
    }
}
