//! `xbuild check`: errors and broken rules of a Dockerfile, without building it.

use std::io;
use std::sync::Arc;

use clap::ValueEnum;
use xbuild_build::request::InputRequest;
use xbuild_build::{Events, Input, Machine};

use super::input::{self, InputArgs};
use crate::check_report::{self, Findings};
use crate::console::Console;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// The format of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: as docker buildx build --call check,format=json prints it
    Json,
    /// For code hosts: SARIF 2.1.0
    Sarif,
}

/// Checks the Dockerfiles that the arguments name.
pub(crate) fn run(args: &CheckArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let request = input::request(&args.input)?;
    let machine = args.registries.machine(args.store.root.as_deref())?;
    check(&request, &machine, (args.format, false), console, &mut io::stdin())
}

/// Checks all stages, or those that `--target` needs. Any finding is a failure; with `ignores_status` only
/// an error is.
pub(crate) fn check(
    request: &InputRequest,
    machine: &Machine,
    (format, ignores_status): (Format, bool),
    console: &Arc<Console>,
    stdin: &mut Input<'_>,
) -> Result<(), Problem> {
    let checked =
        xbuild_build::check(request, machine, &(Arc::clone(console) as Arc<dyn Events>), stdin)?;
    let files = checked.main.files().iter().zip(&checked.files).map(|(file, found)| Findings {
        name: file.name(),
        path: file.path(),
        source: file.source(),
        warnings: &found.findings,
        problem: found.error.as_ref().map(|e| Problem::in_files(e, &checked.main.sources())),
    });
    let files: Vec<Findings<'_>> = files.collect();
    let paths = checked.main.paths();
    let text = match format {
        Format::Text => files.iter().map(Findings::text).collect(),
        Format::Json => format!("{:#}\n", check_report::json(&files)),
        Format::Sarif => format!("{:#}\n", check_report::sarif(&files)),
    };
    console.result(text.as_bytes())?;
    let has_error = files.iter().any(|file| file.problem.is_some());
    let is_sound = files.iter().all(|file| file.warnings.is_empty() && file.problem.is_none());
    let problem = files.into_iter().filter_map(|file| file.problem).reduce(Problem::and);
    match (is_sound || ignores_status && !has_error, problem) {
        (true, _) => Ok(()),
        (_, Some(problem)) if format == Format::Text => Err(problem.with_paths(&paths)),
        _ => Err(Problem::shown()),
    }
}
