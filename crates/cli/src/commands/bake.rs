//! `xbuild bake`: builds the targets of bake files.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use xbuild_bake::{Config, Overrides};
use xbuild_wording::redacted;

pub(crate) use super::bake_args::BakeArgs;
use super::bake_args::ListKind;
use super::bake_build::{self, Options};
use super::bake_files::Places;
use super::bake_remote::Remote;
use super::{bake_access, bake_files, bake_remote};
use crate::console::Console;
use crate::environment;
use crate::report::Problem;

/// Builds, prints or lists targets.
pub(crate) fn run(args: &BakeArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let (sets, list) = (args.sets()?, args.list()?);
    let given = &args.targets[..];
    let is_url = |at: usize| given.get(at).is_some_and(|text| bake_remote::is_one(text));
    let (remote, command_context, targets) = match (is_url(0), is_url(1)) {
        (false, _) => (None, bake_files::HERE, given),
        (true, is_context) => {
            let machine = args.registries.machine(args.store.root.as_deref())?;
            let remote = Remote::fetch(&given[0], &machine, console)?;
            let context = if is_context { given[1].as_str() } else { bake_files::HERE };
            (Some(remote), context, &given[1 + usize::from(is_context)..])
        }
    };
    let config = bake_files::config(&Places {
        files: &args.file,
        vars: &args.var,
        remote: remote.as_ref(),
        command_context,
    })?;
    console.warnings(&config.warnings);
    if let Some((kind, is_json)) = list {
        return console.result(redacted(&listed(&config, kind, is_json)).as_bytes());
    }
    let overrides = Overrides::parse(&sets, &config, &environment::text_variable);
    let selection = overrides.and_then(|overrides| config.select(targets, &overrides));
    let mut selection = selection.map_err(bake_files::problem)?;
    if let Some(epoch) = environment::variable("SOURCE_DATE_EPOCH") {
        selection.set_epoch(&epoch);
    }
    if let Some(remote) = &remote {
        remote.place_contexts(&mut selection);
    }
    if args.print {
        return console.result(redacted(&selection.to_json()).as_bytes());
    }
    if let Some(remote) = &remote {
        remote.place_folders(&mut selection)?;
    }
    bake_access::check(&selection, &args.allow)?;
    let options = Options {
        progress: args.progress(),
        metadata_file: args.metadata_file.as_deref(),
        jobs: args.jobs.jobs,
        registries: &args.registries,
        store: &args.store,
    };
    bake_build::run(&selection, &options, console)
}

/// Returns the names of groups and targets, for completions; none of files that are wrong.
pub(crate) fn names(files: &[PathBuf]) -> Vec<String> {
    let places = Places { files, vars: &[], remote: None, command_context: bake_files::HERE };
    let Ok(config) = bake_files::config(&places) else { return Vec::new() };
    let groups = config.groups.iter().map(|(name, _)| name.clone());
    groups.chain(config.targets.iter().map(|(name, _)| name.clone())).collect()
}

/// Returns a list of targets or variables.
fn listed(config: &Config, kind: ListKind, is_json: bool) -> String {
    match (kind, is_json) {
        (ListKind::Targets, true) => format!("{:#}\n", json!(targets(config).collect::<Vec<_>>())),
        (ListKind::Targets, false) => {
            let rows = targets(config).map(|entry| {
                let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
                let name = match entry["targets"].as_array() {
                    Some(members) => {
                        let members: Vec<&str> =
                            members.iter().filter_map(|m| m.as_str()).collect();
                        format!("{} ({})", text("name"), members.join(", "))
                    }
                    None => text("name"),
                };
                vec![name, text("description")]
            });
            table(&["TARGET", "DESCRIPTION"], rows.collect())
        }
        (ListKind::Variables, true) => format!("{:#}\n", json!(config.variables)),
        (ListKind::Variables, false) => {
            let rows = config.variables.iter().map(|variable| {
                let value = variable.value.clone().unwrap_or_else(|| "<null>".to_owned());
                vec![
                    variable.name.clone(),
                    variable.kind.clone(),
                    value,
                    variable.description.clone(),
                ]
            });
            table(&["VARIABLE", "TYPE", "VALUE", "DESCRIPTION"], rows.collect())
        }
    }
}

/// Returns groups and targets, as buildx lists them, the default group first; none whose name begins
/// with `_`, which are for others to inherit from. The members of a group are our addition.
fn targets(config: &Config) -> impl Iterator<Item = serde_json::Value> {
    let mut groups: Vec<_> = config.groups.iter().collect();
    groups.sort_by_key(|(name, _)| (name != "default", name.clone()));
    let mut targets: Vec<_> = config.targets.iter().collect();
    targets.sort_by(|a, b| a.0.cmp(&b.0));
    let groups = groups.into_iter().map(|(name, group)| {
        let mut entry = json!({ "name": name, "group": true, "targets": group.targets });
        if !group.description.is_empty() {
            entry["description"] = json!(group.description);
        }
        entry
    });
    let targets = targets.into_iter().map(|(name, target)| {
        let mut entry = json!({ "name": name });
        if let Some(description) = &target.description {
            entry["description"] = json!(description);
        }
        entry
    });
    groups
        .chain(targets)
        .filter(|entry| !entry["name"].as_str().is_some_and(|name| name.starts_with('_')))
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head = head.iter().map(|name| (*name).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let widths: Vec<usize> = (0..all[0].len())
        .map(|column| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for row in &all {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}
