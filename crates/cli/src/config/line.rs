//! A command line, read with the defaults of the file.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::defaults::{self, FileDefault};
use super::file::Settings;
use super::key;
use crate::environment;
use crate::report::{Problem, ProblemKind};
use crate::switches;

/// A command line that was read.
#[derive(Debug)]
pub(crate) struct Line {
    /// What clap found.
    pub(crate) matches: ArgMatches,
    /// The names of the command.
    pub(crate) names: Vec<String>,
    /// The defaults that the file gives its options, also those that the line did not need.
    pub(crate) defaults: Vec<FileDefault>,
    /// The options whose values come from the environment, and the variables.
    pub(crate) variables: Vec<(String, String)>,
    /// The first fault of the file, of which nothing counts then.
    pub(crate) fault: Option<Problem>,
}

/// Why a command line is not read.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Help, or a line that is wrong whatever the file says.
    Line(clap::Error),
    /// An environment variable that an option reads has a wrong value.
    Variable(Problem),
}

/// Reads a command line, the name of the program first.
pub(crate) fn read(
    definition: Command,
    args: &[OsString],
    settings: &Settings,
) -> Result<Line, Refusal> {
    let names = commands(&definition, args);
    let (defaults, fault) = match defaults(&definition, &names, settings) {
        Ok(defaults) => (defaults, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let prepared = |command: Command, is_global: bool| {
        defaults::applied(switches::with_values(command), &defaults, is_global)
    };
    let mut command = prepared(definition, true);
    if !names.is_empty() {
        command = at(command, &names, |command| prepared(command, false));
    }
    let matches = command.try_get_matches_from_mut(args).map_err(|error| {
        let is_run = names.first().is_some_and(|name| name == "run");
        let meant = find(&command, &names);
        match meant.and_then(|meant| wrong_variable(meant, args, is_run, &error)) {
            Some(problem) => Refusal::Variable(problem),
            None => Refusal::Line(error),
        }
    })?;
    let variables = variables(&command, &names, &matches);
    Ok(Line { matches, names, defaults, variables, fault })
}

/// Returns the options whose values come from the environment, with the variables.
fn variables(
    definition: &Command,
    names: &[String],
    matches: &ArgMatches,
) -> Vec<(String, String)> {
    let mut matches = matches;
    for name in names {
        let Some(inner) = matches.subcommand_matches(name) else { return Vec::new() };
        matches = inner;
    }
    let Some(command) = find(definition, names) else { return Vec::new() };
    let options = command.get_arguments().filter_map(|arg| {
        let (long, variable) = (arg.get_long()?, arg.get_env()?.to_str()?);
        let is_used = matches.value_source(arg.get_id().as_str())? == ValueSource::EnvVariable;
        is_used.then(|| (long.to_owned(), variable.to_owned()))
    });
    options.collect()
}

/// Returns the problem of the variable that has the value which clap refuses, and that the line does not
/// have.
fn wrong_variable(
    command: &Command,
    args: &[OsString],
    is_run: bool,
    error: &clap::Error,
) -> Option<Problem> {
    let Some(ContextValue::String(refused)) = error.get(ContextKind::InvalidValue) else {
        return None;
    };
    let has = |arg: &OsString| arg.to_str().is_some_and(|arg| arg.contains(refused.as_str()));
    if args.iter().any(has) {
        return None;
    }
    command.get_arguments().find_map(|arg| {
        let name = arg.get_env()?.to_str()?;
        let value = environment::raw_variable(name)?;
        has(&value).then_some(())?;
        let kind = if is_run { ProblemKind::RunLine } else { ProblemKind::CommandLine };
        defaults::check(arg, &value, name).err().map(|problem| problem.of_kind(kind))
    })
}

/// Returns the names of the command that a command line means.
pub(crate) fn commands(definition: &Command, args: &[OsString]) -> Vec<String> {
    let (mut names, mut command) = (Vec::new(), definition);
    let words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    for word in words.filter(|word| !word.starts_with('-')) {
        let Some(found) = command.find_subcommand(word) else { break };
        names.push(found.get_name().to_owned());
        command = found;
    }
    names
}

/// Returns the defaults for a command. All keys of the file must be known, whatever the command is.
fn defaults(
    definition: &Command,
    names: &[String],
    settings: &Settings,
) -> Result<Vec<FileDefault>, Problem> {
    for setting in &settings.list {
        let known = key::place(definition, &setting.key);
        known.map_err(|problem| problem.in_file(&settings.at(setting.line)))?;
    }
    let command = find(definition, names).unwrap_or(definition);
    defaults::of(definition, (names, command), settings)
}

/// Returns a command by its names.
fn find<'a>(definition: &'a Command, names: &[String]) -> Option<&'a Command> {
    names.iter().try_fold(definition, |command, name| command.find_subcommand(name))
}

/// Changes the command of these names.
fn at<F: FnOnce(Command) -> Command>(command: Command, names: &[String], change: F) -> Command {
    match names.split_first() {
        None => change(command),
        Some((first, rest)) => command.mut_subcommand(first, |command| at(command, rest, change)),
    }
}
