//! A command line, read with the defaults of the file.

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use super::defaults::{self, FileDefault};
use super::file::Settings;
use super::key;
use crate::report::Problem;
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
    /// The first fault of the file, of which nothing counts then.
    pub(crate) fault: Option<Problem>,
}

/// Reads a command line, the name of the program first. The error is clap's: help, or a line that is
/// wrong whatever the file says.
pub(crate) fn read(
    definition: Command,
    args: &[OsString],
    settings: &Settings,
) -> Result<Line, clap::Error> {
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
    let matches = command.try_get_matches_from(args)?;
    Ok(Line { matches, names, defaults, fault })
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
