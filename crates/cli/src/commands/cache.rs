//! `xbuild cache`: what is in a shared cache, and what no build uses any more.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use xbuild_build::{CacheContents, CacheShelf, CachedBuild, Events};

use super::du::date;
use crate::console::Console;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::values::cache;
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// List the builds of a shared cache
    Ls(LsArgs),
    /// Remove the steps that no build of the last time has used
    Prune(PruneArgs),
}

/// The cache that a command is about.
#[derive(Debug, Args)]
struct Named {
    /// The cache, as --cache-from of a build names it: NAME[:TAG], type=registry,ref=NAME[:TAG] or
    /// type=local,src=FOLDER, with scope=NAME
    #[arg(value_name = "CACHE")]
    cache: String,
    /// Look at all scopes of the repository, not only at that of the tag
    #[arg(long)]
    all_scopes: bool,
    #[command(flatten)]
    registries: RegistryArgs,
}

#[derive(Debug, Args)]
struct LsArgs {
    #[command(flatten)]
    named: Named,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: TableFormat,
}

#[derive(Debug, Args)]
struct PruneArgs {
    #[command(flatten)]
    named: Named,
    /// Keep what is younger, and what a build has used that is younger: 14d, 36h
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = duration)]
    keep: Duration,
    /// Only say how much would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Named {
    fn open(&self, console: &Arc<Console>) -> Result<CacheShelf, Problem> {
        let machine = self.registries.machine(None)?;
        let cache = cache::from_value(&self.cache)?;
        Ok(CacheShelf::open(&machine, &cache, &(Arc::clone(console) as Arc<dyn Events>))?)
    }
}

/// Lists or prunes a cache.
pub(crate) fn run(args: &CacheArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match &args.command {
        CacheCommand::Ls(args) => {
            let contents = args.named.open(console)?.list(args.named.all_scopes)?;
            let text = match args.format {
                TableFormat::Table => table(&contents),
                TableFormat::Json => format!("{:#}\n", json(&contents)),
            };
            console.result(text.as_bytes())
        }
        CacheCommand::Prune(args) => {
            let shelf = args.named.open(console)?;
            let pruned = shelf.prune(args.keep, args.named.all_scopes, args.dry_run)?;
            let verb = if args.dry_run { "would remove" } else { "removed" };
            let text = format!("{verb} {} documents, kept {}\n", pruned.removed, pruned.kept);
            console.result(text.as_bytes())
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a time such as 14d or 36h".to_owned())
}

fn table(contents: &CacheContents) -> String {
    let mut text = format!("{:<20}  {:>5}  {:<16}  BUILD\n", "LAST", "STEPS", "SCOPE");
    for CachedBuild { scope, name, steps, written } in &contents.builds {
        let (scope, name) = (printable(scope), printable(name));
        let _ = writeln!(text, "{:<20}  {steps:>5}  {scope:<16}  {name}", date(*written));
    }
    let CacheContents { builds, steps, mounts } = contents;
    let count = |number: usize, thing: &str| match number {
        1 => format!("1 {thing}"),
        number => format!("{number} {thing}s"),
    };
    let counts = [(builds.len(), "build"), (*steps, "step"), (*mounts, "cache mount")];
    let counts = counts.map(|(number, thing)| count(number, thing));
    let _ = writeln!(text, "{}", counts.join(", "));
    text
}

fn json(contents: &CacheContents) -> Value {
    let builds = contents.builds.iter().map(|build| {
        json!({
            "scope": build.scope,
            "name": build.name,
            "steps": build.steps,
            "written": date(build.written),
        })
    });
    json!({
        "builds": builds.collect::<Value>(),
        "steps": contents.steps,
        "mounts": contents.mounts,
    })
}
