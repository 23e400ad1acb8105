//! Command lines of Go's `pflag`, by a list of options.

use std::ffi::OsString;

use xbuild_wording::{hints, quoted};

use super::line::Line;
use super::option::{Fate, Known, Takes};
use crate::report::Problem;

/// What a command line has.
#[derive(Default)]
pub(super) struct Read {
    /// Options as those of xbuild.
    pub(super) line: Line,
    /// The arguments that are no options.
    pub(super) rest: Vec<String>,
    /// Whether help is asked for.
    pub(super) wants_help: bool,
    /// What is refused, with the reason.
    pub(super) refused: Vec<String>,
}

/// Reads a command line.
pub(super) fn read(args: &[OsString], known: &[Known]) -> Result<Read, Problem> {
    let mut read = Read::default();
    read_into(&mut read, args, known)?;
    Ok(read)
}

/// Adds a command line to what is read.
pub(super) fn read_into(
    read: &mut Read,
    args: &[OsString],
    known: &[Known],
) -> Result<(), Problem> {
    let mut args = args;
    loop {
        args = read_options(args, known, read)?;
        let Some((arg, left)) = args.split_first() else { return Ok(()) };
        if arg == "--" {
            read.rest.extend(left.iter().map(text).collect::<Result<Vec<_>, _>>()?);
            return Ok(());
        }
        read.rest.push(text(arg)?);
        args = left;
    }
}

/// Reads options up to the first argument that is none, and returns that one and all after it.
pub(super) fn read_options<'a>(
    args: &'a [OsString],
    known: &[Known],
    read: &mut Read,
) -> Result<&'a [OsString], Problem> {
    let mut left = args.iter();
    loop {
        let rest = left.as_slice();
        let Some(arg) = left.next().map(text).transpose()? else { return Ok(rest) };
        if arg == "--" {
            return Ok(rest);
        }
        if arg == "--help" || arg == "-h" {
            read.wants_help = true;
            continue;
        }
        let (option, mut value) = match arg.strip_prefix("--") {
            Some(long) => {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                (known.iter().find(|option| option.name == name), value)
            }
            None => match arg.strip_prefix('-').and_then(|letters| letters.chars().next()) {
                Some(letter) => {
                    let rest = &arg[1 + letter.len_utf8()..];
                    let value = Some(rest.strip_prefix('=').unwrap_or(rest).to_owned());
                    let option = known.iter().find(|option| option.short == Some(letter));
                    (option, value.filter(|value| !value.is_empty()))
                }
                None => return Ok(rest),
            },
        };
        let option = option.ok_or_else(|| {
            Problem::command_line(format!("unexpected option {arg}"))
                .with_hint(hints::options_of_guises())
        })?;
        if option.takes == Takes::Value && value.is_none() {
            let missing = || Problem::command_line(format!("--{} needs a value", option.name));
            value = Some(left.next().map(text).transpose()?.ok_or_else(missing)?);
        }
        take(option, value, read)?;
    }
}

fn text(arg: &OsString) -> Result<String, Problem> {
    let fail = || Problem::command_line(format!("argument {} is no text", arg.display()));
    arg.to_str().map(str::to_owned).ok_or_else(fail)
}

fn take(option: &Known, value: Option<String>, read: &mut Read) -> Result<(), Problem> {
    let is_off = || matches!(value.as_deref(), Some("false" | "0" | "f" | "F" | "FALSE" | "False"));
    let text = value.clone().unwrap_or_default();
    let name = option.name;
    match &option.fate {
        Fate::Same(other) => match (option.takes, &value) {
            (Takes::Switch, _) if is_off() => {}
            (Takes::Switch, _) | (_, None) => read.line.args.push(format!("--{other}")),
            (_, Some(value)) => read.line.args.push(format!("--{other}={value}")),
        },
        Fate::Means(_, _) if option.takes == Takes::Switch && is_off() => {}
        Fate::Means(_, add) => {
            add(&mut read.line, &text).map_err(|reason| {
                Problem::command_line(format!(
                    "invalid --{name} {text}: {reason}",
                    text = quoted(&text)
                ))
            })?;
        }
        Fate::True(_) => {}
        Fate::On(reason) if is_off() => read.refused.push(format!("--{name}=false: {reason}")),
        Fate::On(_) => {}
        Fate::Refused(_) if option.takes == Takes::Switch && is_off() => {}
        Fate::Refused(reason) => read.refused.push(format!("--{name}: {reason}")),
    }
    Ok(())
}
