//! `xbuild check`: what is wrong or unwise in a Dockerfile, without building it.

use std::sync::Arc;

use clap::ValueEnum;
use xbuild_build::machine::Machine;
use xbuild_build::main_context::{Elsewhere, MainContext};
use xbuild_build::planning::{self, Unplanned};
use xbuild_build::{linting, wiring};
use xbuild_dockerfile::{Diagnostics, Dockerfile};
use xbuild_plan::{Images, PlanOptions};

use super::input::{InputArgs, InputOptions};
use crate::arguments::StoreArgs;
use crate::check_report::Findings;
use crate::console::Console;
use crate::environment;
use crate::report::{self, Problem, note};

/// The arguments of `xbuild check`.
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    input: InputArgs,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    store: StoreArgs,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: as docker buildx build --call check,format=json prints it
    Json,
    /// For code hosts: SARIF 2.1.0
    Sarif,
}

/// Checks what the arguments say.
pub(crate) fn run(args: &CheckArgs) -> Result<(), Problem> {
    check(&args.input, &args.store, args.format)
}

/// Checks all stages, or those that `--target` needs. Whatever is found makes for a failure.
pub(crate) fn check(input: &InputArgs, store: &StoreArgs, format: Format) -> Result<(), Problem> {
    let InputOptions { mut plan, contexts } = InputOptions::new(input)?;
    plan.every_stage = plan.target.is_none();
    // Nothing is run.
    plan.allow_insecure = true;
    let machine = environment::machine(store.root.as_deref())?;
    // Only for contexts that are no folders: nothing else is kept.
    let elsewhere = || {
        let store = wiring::store(machine.store_root()?)?;
        let client = wiring::client(&machine, Some(&store))?;
        let events = Arc::new(Console { quiet: true });
        let fetcher = wiring::fetcher(&machine, &store, &client, None, events);
        Ok(Elsewhere { store, fetcher })
    };
    let main = MainContext::open(&contexts[""], input.file.as_deref(), &elsewhere)?;
    plan.context_epoch = main.modified.map(|time| time.to_string());
    let file = &main.file;
    let source = String::from_utf8_lossy(&file.text).into_owned();
    let (warnings, problem) = match planning::parse(&file.name, &file.text, &source) {
        Ok(dockerfile) => inspect(&machine, &dockerfile, &plan, &source, file.ignore.as_deref())?,
        Err(problem) => (Diagnostics::default(), Some(problem)),
    };
    let findings = Findings {
        name: &file.name,
        source: &source,
        warnings: &warnings,
        problem: problem.as_ref(),
    };
    let text = match format {
        Format::Text => findings.text(),
        Format::Json => format!("{:#}\n", findings.json()),
        Format::Sarif => format!("{:#}\n", findings.sarif()),
    };
    report::to_stdout(text.as_bytes())?;
    match (warnings.is_empty(), problem) {
        (true, None) => Ok(()),
        (_, Some(problem)) if format == Format::Text => Err(problem),
        _ => Err(Problem::shown()),
    }
}

/// Returns what is unwise and what is wrong.
fn inspect(
    machine: &Machine,
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    source: &str,
    ignore: Option<&[u8]>,
) -> Result<(Diagnostics, Option<Problem>), Problem> {
    let checks = linting::checks(dockerfile, options)?;
    let client = wiring::client(machine, None)?;
    let mut images = Images::default();
    let problem = match planning::plan(dockerfile, options, &client, source, &mut images) {
        Ok(_) => None,
        Err(Unplanned::File(problem)) => Some(problem),
        Err(Unplanned::Image(problem)) => {
            // Files are checked where their base images are out of reach, too.
            note(problem.as_warning("rules and errors that depend on this image are left out"));
            let checked = xbuild_plan::check(dockerfile, options, &images);
            checked.err().map(|errors| planning::problem(&errors, source))
        }
    };
    let warnings = linting::all(dockerfile, options, &images, &checks, ignore)?;
    Ok((warnings, problem))
}
