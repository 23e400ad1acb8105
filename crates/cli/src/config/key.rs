//! The meaning of a key, by clap's definition of the command line.

use clap::{Arg, ArgAction, Command};
use xbuild_dockerfile::suggest;
use xbuild_wording::{hints, quoted};

use super::file::REGISTRIES;
use super::marks::OnLineOnly;
use crate::report::Problem;

/// The table of the store, and its names.
const STORE: (&str, &[&str]) = ("store", &["max-used-space"]);

/// The meaning of a key.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// An option of a command.
    Option(&'a Arg),
    /// An option of every command that has one of that name; the first of these.
    Every(&'a Arg),
    /// A property of the store.
    Store,
    /// A member of a registry.
    Registry,
}

/// Returns the meaning of a key; a problem that names it, and the nearest one, if it has none.
pub(crate) fn place<'a>(definition: &'a Command, key: &[String]) -> Result<Place<'a>, Problem> {
    let Some((name, tables)) = key.split_last() else { return Err(unknown("key", key, [])) };
    match tables.first().map(String::as_str) {
        None => every(definition, name),
        Some(REGISTRIES) => Ok(Place::Registry),
        Some(table) if table == STORE.0 => match STORE.1.contains(&name.as_str()) {
            true => Ok(Place::Store),
            false => Err(unknown("key", key, STORE.1.iter().copied())),
        },
        Some(_) => {
            let command = command(definition, tables)?;
            option(definition, command, name, key).map(Place::Option)
        }
    }
}

/// Returns the name of a key as it is typed.
pub(crate) fn name_of(key: &[String]) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let part = |part: &String| match !part.is_empty() && part.chars().all(is_bare) {
        true => part.clone(),
        false => quoted(part).to_string(),
    };
    key.iter().map(part).collect::<Vec<_>>().join(".")
}

/// Returns the command that has the name of a table.
fn command<'a>(definition: &'a Command, tables: &[String]) -> Result<&'a Command, Problem> {
    let mut command = definition;
    for (index, table) in tables.iter().enumerate() {
        let known = command.get_subcommands().map(Command::get_name);
        let extra = if index == 0 { &[REGISTRIES, STORE.0][..] } else { &[] };
        let mut commands = command.get_subcommands();
        command = commands.find(|command| command.get_name() == table).ok_or_else(|| {
            unknown("table", &tables[..=index], known.chain(extra.iter().copied()))
        })?;
    }
    Ok(command)
}

/// Returns an option of a command, or of all.
fn option<'a>(
    definition: &'a Command,
    command: &'a Command,
    name: &str,
    key: &[String],
) -> Result<&'a Arg, Problem> {
    let globals = || definition.get_arguments().filter(|arg| arg.is_global_set());
    let mut options = command.get_arguments().chain(globals());
    let Some(arg) = options.find(|arg| arg.get_long() == Some(name)) else {
        let is_positional = |arg: &&Arg| arg.is_positional() && arg.get_id() == name;
        if command.get_arguments().any(|arg| is_positional(&arg)) {
            let message = format!("{} is no option", name_of(key));
            return Err(Problem::input(message).with_hint(hints::named_on_the_line()));
        }
        if command.get_subcommands().any(|command| command.get_name() == name) {
            return Err(is_command(name_of(key)));
        }
        let known = command.get_arguments().chain(globals()).filter(|arg| is_settable(arg));
        return Err(unknown("key", key, known.filter_map(Arg::get_long)));
    };
    match is_settable(arg) {
        true => Ok(arg),
        false => Err(refused(name, arg, &name_of(key))),
    }
}

/// Returns the first option of that name of all commands.
fn every<'a>(definition: &'a Command, name: &str) -> Result<Place<'a>, Problem> {
    let key = [name.to_owned()];
    if definition.get_subcommands().any(|command| command.get_name() == name) {
        return Err(is_command(name_of(&key)));
    }
    let mut all = Vec::new();
    collect(definition, &mut all);
    let named = |arg: &&&Arg| arg.get_long() == Some(name);
    if let Some(arg) = all.iter().filter(|arg| is_settable(arg)).find(named) {
        return Ok(Place::Every(arg));
    }
    if let Some(arg) = all.iter().find(named) {
        return Err(refused(name, arg, &name_of(&key)));
    }
    let known = all.iter().filter(|arg| is_settable(arg)).filter_map(|arg| arg.get_long());
    let tables = definition.get_subcommands().map(Command::get_name);
    Err(unknown("key", &key, known.chain(tables).chain([REGISTRIES, STORE.0])))
}

/// Adds the options of a command and of those below it.
fn collect<'a>(command: &'a Command, all: &mut Vec<&'a Arg>) {
    all.extend(command.get_arguments().filter(|arg| arg.get_long().is_some()));
    command.get_subcommands().for_each(|command| collect(command, all));
}

/// Returns whether the file may set an option.
pub(crate) fn is_settable(arg: &Arg) -> bool {
    let is_value =
        matches!(arg.get_action(), ArgAction::Set | ArgAction::Append | ArgAction::SetTrue);
    let is_marked = arg.get::<OnLineOnly>().is_some();
    arg.get_long().is_some() && is_value && !is_marked && !arg.is_hide_set()
}

fn refused(name: &str, arg: &Arg, key: &str) -> Problem {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let message = format!("{key}: --{name} has no default in the file");
    match help.strip_prefix("refused: ").filter(|_| arg.is_hide_set()) {
        Some(reason) => Problem::input(format!("{message}: {reason}")),
        None => Problem::input(message).with_hint(hints::belongs_to_a_call()),
    }
}

fn is_command(name: String) -> Problem {
    Problem::input(format!("{name} is a command, not an option"))
        .with_hint(hints::table_of_options(name))
}

/// Returns the problem of a key that has no meaning; `known` are the names that its last part may have.
pub(super) fn unknown<'a>(
    kind: &str,
    key: &[String],
    known: impl IntoIterator<Item = &'a str>,
) -> Problem {
    let problem = Problem::input(format!("unknown {kind} {}", name_of(key)));
    let Some((last, tables)) = key.split_last() else { return problem };
    match suggest(last, known) {
        Some(near) => {
            let near: Vec<String> = tables.iter().cloned().chain([near.to_owned()]).collect();
            problem.with_hint(hints::did_you_mean(name_of(&near)))
        }
        None => problem,
    }
}
