//! Building the targets of a selection, in one process and with one store: each step that two targets have
//! in common is done once.
//!
//! Targets are built one after the other, those that are contexts of others first. Their images stay in
//! layouts of the store's temporary folder, where the others find them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};
use xbuild_bake::{Options as Output, Selection, Target};
use xbuild_store::TempFolder;

use super::bake_target::{self, Line};
use super::build::{self, BuiltImage};
use super::build_line;
use crate::console::{Console, ProgressMode};
use crate::environment;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::result::BuildResult;
use crate::store_args::StoreArgs;

/// What all targets have in common.
#[derive(Debug)]
pub(super) struct Options<'a> {
    pub(super) progress: ProgressMode,
    pub(super) metadata_file: Option<&'a Path>,
    pub(super) registries: &'a RegistryArgs,
    pub(super) store: &'a StoreArgs,
}

/// Builds all targets of a selection. The first failure ends the whole.
pub(super) fn run(
    selection: &Selection,
    options: &Options<'_>,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let order = order(selection);
    let lines =
        order.iter().map(|name| bake_target::line(&selection.targets[*name], &BTreeMap::new()));
    // What no build takes is said before any begins.
    for (line, name) in lines.zip(&order) {
        build_line::parse(&line?.args).map_err(|problem| problem.of_target(name))?;
    }
    let mut bake =
        Bake { selection, options, console, links: BTreeMap::new(), metadata: Map::new() };
    let users = users(selection);
    let folder = match users.is_empty() {
        true => None,
        false => Some(temporary(options.store)?),
    };
    for name in order {
        let target = &selection.targets[name];
        if let (Some(users), Some(folder)) = (users.get(name), &folder) {
            let place = folder.path().join(name);
            bake.link(name, target, users, &place).map_err(|problem| problem.of_target(name))?;
        }
        if !target.is_linked {
            let is_fresh = bake.links.contains_key(name);
            bake.build(name, target, is_fresh).map_err(|problem| problem.of_target(name))?;
        }
    }
    if let Some(path) = options.metadata_file {
        let text = format!("{:#}\n", Value::Object(bake.metadata));
        fs::write(path, text).map_err(|error| Problem::file("write", path, &error))?;
    }
    Ok(())
}

/// Makes a folder for layouts, which goes when it is dropped, or with the next start after a kill.
fn temporary(store: &StoreArgs) -> Result<TempFolder, Problem> {
    let machine = environment::machine(store.root.as_deref())?;
    let store = xbuild_build::open_store(&machine)?;
    store.temp_dir("bake").map_err(|error| Problem::input(error.to_string()))
}

/// Returns the targets that have others as contexts, by these others.
fn users(selection: &Selection) -> BTreeMap<&str, Vec<&Target>> {
    let mut users: BTreeMap<&str, Vec<&Target>> = BTreeMap::new();
    for target in selection.targets.values() {
        for linked in target.contexts.values().filter_map(|place| place.strip_prefix("target:")) {
            users.entry(linked).or_default().push(target);
        }
    }
    users
}

/// Returns the targets in an order in which contexts come before what uses them.
fn order(selection: &Selection) -> Vec<&str> {
    fn visit<'a>(
        name: &'a str,
        selection: &'a Selection,
        seen: &mut BTreeSet<&'a str>,
        order: &mut Vec<&'a str>,
    ) {
        let Some(target) = selection.targets.get(name) else { return };
        if seen.insert(name) {
            let linked = target.contexts.values().filter_map(|place| place.strip_prefix("target:"));
            linked.for_each(|linked| visit(linked, selection, seen, order));
            order.push(name);
        }
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    selection.targets.keys().for_each(|name| visit(name, selection, &mut seen, &mut order));
    order
}

struct Bake<'a> {
    selection: &'a Selection,
    options: &'a Options<'a>,
    console: &'a Arc<Console>,
    /// The layouts of targets that are contexts.
    links: BTreeMap<String, String>,
    /// The digests, by target.
    metadata: Map<String, Value>,
}

impl Bake<'_> {
    /// Builds a target as a context of others: an image in a layout, for their platforms unless it has
    /// its own.
    fn link(
        &mut self,
        name: &str,
        target: &Target,
        users: &[&Target],
        place: &Path,
    ) -> Result<(), Problem> {
        let dest = place.display().to_string();
        let options = [("dest", dest.as_str()), ("tar", "false"), ("compression", "uncompressed")];
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let output = Output { kind: "oci".to_owned(), attributes: options.into() };
        let mut linked =
            Target { output: Some(vec![output]), tags: None, call: None, ..target.clone() };
        if linked.platforms.as_ref().is_none_or(Vec::is_empty) {
            let platforms = users.iter().flat_map(|user| user.platforms.iter().flatten());
            let platforms: BTreeSet<String> = platforms.cloned().collect();
            linked.platforms = Some(platforms.into_iter().collect());
        }
        self.console.line(format_args!("target {name}, a context"));
        let line = bake_target::line(&linked, &self.links)?;
        self.image(&line)?;
        self.links.insert(name.to_owned(), format!("oci-layout://{dest}"));
        Ok(())
    }

    /// Builds a target; `is_fresh` if its steps have run in this process, whatever they ask for.
    fn build(&mut self, name: &str, target: &Target, is_fresh: bool) -> Result<(), Problem> {
        let mut target = target.clone();
        if is_fresh {
            (target.no_cache, target.no_cache_filter) = (None, None);
        }
        let line = bake_target::line(&target, &self.links)?;
        if self.selection.targets.len() > 1 {
            self.console.line(format_args!("target {name}"));
        }
        let Some(built) = self.image(&line)? else { return Ok(()) };
        self.metadata.insert(name.to_owned(), BuildResult(&built.outcome).metadata());
        let is_quiet = self.options.progress == ProgressMode::Quiet;
        if self.selection.targets.len() > 1 {
            self.console.result(format!("{name}\n").as_bytes())?;
        }
        built.print(is_quiet, self.console)
    }

    fn image(&self, line: &Line) -> Result<Option<BuiltImage>, Problem> {
        let mut args = build_line::parse(&line.args)?;
        args.progress = self.options.progress;
        args.registries = self.options.registries.clone();
        args.store = self.options.store.clone();
        let mut stdin: Box<dyn Read + Send> = match &line.dockerfile {
            Some(text) => Box::new(io::Cursor::new(text.clone())),
            None => Box::new(io::empty()),
        };
        build::image(&args, self.console, &mut *stdin)
    }
}
