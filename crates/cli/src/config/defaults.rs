//! Settings as defaults of clap's options.

use std::ffi::OsString;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, ArgAction, Command, ValueHint};
use xbuild_wording::{hints, quoted};

use super::file::{Given, Setting, Settings};
use super::key::{is_settable, name_of};
use crate::environment;
use crate::report::Problem;
use crate::switches::boolean;

/// Commands that build take the table of another one, too.
const BUILDS_AS: &[(&str, &str)] = &[("verify", "build"), ("lock", "build")];

/// A default that the file gives an option.
#[derive(Debug)]
pub(crate) struct FileDefault {
    /// The option's name in clap's definition.
    pub(crate) id: String,
    /// The option.
    pub(crate) long: String,
    /// The line of the file.
    pub(crate) line: usize,
    texts: Vec<OsString>,
    is_global: bool,
}

/// Returns the defaults of a command: from its own table, from the one of `build` for commands that build,
/// or from above all tables.
pub(super) fn of(
    definition: &Command,
    command: (&[String], &Command),
    settings: &Settings,
) -> Result<Vec<FileDefault>, Problem> {
    let (names, command) = command;
    let globals = definition.get_arguments().filter(|arg| arg.is_global_set());
    let mut list = Vec::new();
    for arg in command.get_arguments().chain(globals).filter(|arg| is_settable(arg)) {
        let Some(long) = arg.get_long() else { continue };
        let Some(setting) = setting(names, long, settings) else { continue };
        let texts =
            checked(arg, setting).map_err(|problem| problem.in_file(&settings.at(setting.line)))?;
        list.push(FileDefault {
            id: arg.get_id().to_string(),
            long: long.to_owned(),
            line: setting.line,
            texts,
            is_global: arg.is_global_set(),
        });
    }
    Ok(list)
}

/// Returns what the file says about an option.
fn setting<'a>(names: &[String], long: &str, settings: &'a Settings) -> Option<&'a Setting> {
    let find = |tables: &[&str]| {
        let wanted = tables.iter().copied().chain([long]);
        settings.list.iter().find(|setting| setting.key.iter().eq(wanted.clone()))
    };
    let own: Vec<&str> = names.iter().map(String::as_str).collect();
    let other = BUILDS_AS.iter().find(|(name, _)| own == [*name]).map(|(_, other)| *other);
    find(&own).or_else(|| find(&[other?])).or_else(|| find(&[]))
}

/// Gives the options of a command, or those of all commands, their defaults.
pub(super) fn applied(command: Command, defaults: &[FileDefault], is_global: bool) -> Command {
    let wanted = defaults.iter().filter(|default| default.is_global == is_global);
    wanted.fold(command, |command, default| {
        command.mut_arg(&default.id, |arg| arg.required(false).default_values(&default.texts))
    })
}

/// Returns the values of a setting, if the option takes them.
pub(crate) fn checked(arg: &Arg, setting: &Setting) -> Result<Vec<OsString>, Problem> {
    let name = name_of(&setting.key);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    if matches!(setting.value, Given::List(_)) && !is_list {
        return Err(Problem::input(format!(
            "{name} is a list, but --{} takes one value",
            long(arg)
        )));
    }
    let texts: Vec<OsString> =
        setting.value.texts().iter().map(|text| in_home(arg, text)).collect();
    for text in &texts {
        check(arg, text, &name)?;
    }
    Ok(texts)
}

fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// Returns a path with the home folder in place of a `~`, which no shell sees here.
fn in_home(arg: &Arg, text: &str) -> OsString {
    let is_path = arg.get_value_hint() == ValueHint::AnyPath;
    match text.strip_prefix("~/").filter(|_| is_path) {
        Some(rest) => Path::new(&environment::home_text()).join(rest).into_os_string(),
        None => text.into(),
    }
}

/// Lets clap read a value alone; `name` is where it was found.
pub(super) fn check(arg: &Arg, text: &OsString, name: &str) -> Result<(), Problem> {
    let mut alone = Arg::new("value").long("value").action(ArgAction::Append);
    alone = match arg.get_action() {
        ArgAction::SetTrue => alone.value_parser(boolean),
        _ => alone.value_parser(arg.get_value_parser().clone()),
    };
    if let Some(delimiter) = arg.get_value_delimiter() {
        alone = alone.value_delimiter(delimiter);
    }
    let mut option = OsString::from("--value=");
    option.push(text);
    let command = Command::new("xbuild").no_binary_name(true).arg(alone);
    let Err(error) = command.try_get_matches_from([option]) else { return Ok(()) };
    let text = text.to_string_lossy();
    let reason = match (std::error::Error::source(&error), error.get(ContextKind::ValidValue)) {
        (Some(reason), _) => reason.to_string(),
        (None, Some(ContextValue::Strings(known))) => format!("expected {}", known.join(", ")),
        _ => "the option does not take it".to_owned(),
    };
    let problem = Problem::input(format!("invalid {name} {}: {reason}", quoted(&text)));
    Err(match error.get(ContextKind::SuggestedValue) {
        Some(ContextValue::String(near)) => problem.with_hint(hints::did_you_mean(near)),
        _ => problem,
    })
}
