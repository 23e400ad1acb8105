//! `xbuild build`: the pipeline from end to end.

use xbuild_dockerfile::Dockerfile;
use xbuild_exec::Isolation;
use xbuild_model::FailureKind;
use xbuild_plan::{Graph, Images, Op, PlanOptions, Planned, Vertex, Warning};
use xbuild_registry::Client;
use xbuild_snapshot::Engine;
use xbuild_solve::{SolveOptions, Stages};
use xbuild_store::Store;

use super::build_args::IsolationArg;
pub(crate) use super::build_args::{BuildArgs, refuse, with_refused};
use super::build_options::BuildOptions;
use crate::export::Exporter;
use crate::output::Output;
use crate::progress::{Progress, ProgressMode};
use crate::report::{Problem, note, printable};
use crate::result::BuildResult;
use crate::wiring::{self, Sandbox};
use crate::{dockerfile_file, environment, import, preflight};

/// Builds what the arguments say.
pub(crate) fn run(args: BuildArgs) -> Result<(), Problem> {
    let options = BuildOptions::new(&args)?;
    let file = dockerfile_file::read(args.file.as_deref(), &options.folders[""])?;
    let source = String::from_utf8_lossy(&file.text).into_owned();
    let dockerfile = parse(&file.name, &file.text, &source)?;
    let root = environment::store_root(&args.store)?;
    let store = wiring::store(&root)?;
    let client = wiring::client(Some(&store))?;
    let graph = plan(&dockerfile, &options.plan, &client, &source)?;
    let epoch = epoch(&graph)?;
    let mode = if args.quiet { ProgressMode::None } else { args.progress };
    if mode != ProgressMode::None {
        for warning in &dockerfile.warnings {
            let text = format!("{}: {} ({})", warning.code, warning.message, warning.span);
            note(format_args!("warning: {}", printable(&text)));
        }
        graph.warnings.iter().for_each(warn);
    }
    let emulators = match args.isolation {
        IsolationArg::None => refuse_run(&graph, &source).map(|()| Vec::new())?,
        _ => preflight::check(&graph)?,
    };
    let sandbox = Sandbox {
        isolation: match args.isolation {
            IsolationArg::Auto => Isolation::Auto,
            IsolationArg::UsernsRange => Isolation::UsernsRange,
            IsolationArg::UsernsSingle => Isolation::UsernsSingle,
            IsolationArg::None => Isolation::None,
        },
        emulators: &emulators,
        network: options.plan.network,
    };
    let namespace = wiring::namespace(&sandbox)?;
    let contexts = wiring::contexts(&options.folders, file.ignore.as_deref())?;
    let engine = wiring::engine(&store, &client, namespace.clone(), contexts, epoch, mode);
    let stages = Stages { store: &store, snapshots: &engine, runner: &*namespace };
    let solve_options = SolveOptions { jobs: options.jobs, no_cache: args.no_cache, epoch };
    let progress = Progress::new(&graph, mode);
    let images =
        xbuild_solve::solve(&graph, &stages, &solve_options, &progress).map_err(|error| {
            Problem::step(&error.failure)
                .during(&error.label)
                .at(&error.span, &source)
                .with_log(progress.tail(&error.label))
        })?;
    if graph.vertices.iter().any(is_run) {
        // What killed builds left behind may take a namespace to remove: steps need one anyhow.
        if let Err(failure) = wiring::remove_leftovers_in(&namespace, &store.leftovers()) {
            note(format_args!("warning: leftovers of a killed build stay: {failure}"));
        }
    }
    let exporter =
        Exporter { store: &store, client: &client, engine: &engine, images: &images, mode };
    let assembled = exporter.assemble(&options.annotations)?;
    exporter.write(&assembled, &options.outputs, &options.names, options.push)?;
    sweep(&graph, &store, &engine)?;
    let result = BuildResult { assembled: &assembled, names: &options.names, pushed: options.push };
    result.write_files(args.metadata_file.as_deref(), args.iidfile.as_deref())?;
    let to_stdout = !options.outputs.iter().any(Output::is_stdout);
    result.print(args.quiet, to_stdout)
}

fn parse(name: &str, text: &[u8], source: &str) -> Result<Dockerfile, Problem> {
    xbuild_dockerfile::parse(name, text).map_err(|errors| {
        let problems = errors.iter().map(|error| {
            let problem = Problem::input(error.to_string()).at(&error.span, source);
            match error.hint() {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            }
        });
        Problem::all(problems).unwrap_or_else(|| Problem::input(errors.to_string()))
    })
}

/// Plans, resolving base images until the plan needs no more.
fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    client: &Client,
    source: &str,
) -> Result<Graph, Problem> {
    let mut images = Images::default();
    loop {
        match xbuild_plan::plan(dockerfile, options, &images) {
            Ok(Planned::Ready(graph)) => return Ok(graph),
            Ok(Planned::Needs(requests)) => {
                for request in requests {
                    let image = import::resolve(client, &request.name, &request.platform)
                        .map_err(|problem| problem.at(&request.span, source))?;
                    images.insert(&request, image);
                }
            }
            Err(errors) => {
                let problems = errors.iter().map(|error| {
                    let mut problem = Problem::input(error.to_string());
                    if let Some(span) = &error.span {
                        problem = problem.at(span, source);
                    }
                    match error.hint() {
                        Some(hint) => problem.with_hint(hint),
                        None => problem,
                    }
                });
                let all = Problem::all(problems);
                return Err(all.unwrap_or_else(|| Problem::input(errors.to_string())));
            }
        }
    }
}

/// Removes what killed builds left in the store and only a namespace can remove; not worth
/// starting one for.
fn sweep(graph: &Graph, store: &Store, engine: &Engine) -> Result<(), Problem> {
    let leftovers: Vec<_> = store.leftovers().into_iter().map(|leftover| leftover.path).collect();
    if leftovers.is_empty() || !graph.vertices.iter().any(|v| matches!(v.op, Op::Run { .. })) {
        return Ok(());
    }
    engine.remove(&leftovers).map_err(|failure| Problem::step(&failure))
}

fn warn(warning: &Warning) {
    let place = warning.span.as_ref().map(|span| format!(" ({span})")).unwrap_or_default();
    note(format_args!(
        "warning: {}: {}{}",
        warning.rule,
        printable(&warning.message),
        printable(&place)
    ));
}

fn is_run(vertex: &Vertex) -> bool {
    matches!(vertex.op, Op::Run { .. })
}

/// Refuses a plan with RUN steps where there is nowhere to run them.
fn refuse_run(graph: &Graph, source: &str) -> Result<(), Problem> {
    let run = graph.vertices.iter().find(|vertex| is_run(vertex));
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
