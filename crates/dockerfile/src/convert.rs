//! From one line, already taken apart, to one typed instruction.

use crate::duration;
use crate::error::{ParseErrorKind, excerpt};
use crate::flags::{Flags, Takes};
use crate::instruction::*;
use crate::keyword::Keyword;
use crate::line::{self, Line};
use crate::words;
use crate::{run, transfer};

/// The parts of a FROM.
#[derive(Debug)]
pub(crate) struct FromLine {
    pub image: String,
    pub platform: Option<String>,
    pub name: Option<String>,
}

/// Reads a FROM.
pub(crate) fn from(line: &Line<'_>) -> Result<FromLine, ParseErrorKind> {
    let flags = line.flags(&[("platform", Takes::Value)])?;
    let words = words::plain(line.arguments);
    let (image, name) = match words.as_slice() {
        [image] => (image, None),
        [image, word, name] if word.eq_ignore_ascii_case("as") => (image, Some(name)),
        _ => return Err(ParseErrorKind::FromWords),
    };
    let name = name.map(|name| stage_name(name)).transpose()?;
    Ok(FromLine { image: image.clone(), platform: flags.value("platform"), name })
}

fn stage_name(name: &str) -> Result<String, ParseErrorKind> {
    let lower = name.to_lowercase();
    let begins = lower.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if begins && lower.chars().all(allowed) {
        Ok(lower)
    } else {
        Err(ParseErrorKind::BadStageName { name: excerpt(name) })
    }
}

/// Reads any instruction but FROM, which the caller handles.
pub(crate) fn instruction(
    line: &Line<'_>,
    heredocs: Vec<Heredoc>,
) -> Result<Instruction, ParseErrorKind> {
    let original = line.original.to_owned();
    match line.keyword {
        Keyword::Run => return run::read(line, heredocs).map(Instruction::Run),
        Keyword::Copy => return transfer::copy(line, heredocs).map(Instruction::Copy),
        Keyword::Add => return transfer::add(line, heredocs).map(Instruction::Add),
        Keyword::Healthcheck => return healthcheck(line).map(Instruction::Healthcheck),
        Keyword::Onbuild => return onbuild(line, heredocs).map(Instruction::Onbuild),
        _ => line.flags(&[])?,
    };
    Ok(match line.keyword {
        Keyword::Arg => Instruction::Arg(arg(line)?),
        Keyword::Env => {
            let (pairs, legacy) = pairs(line)?;
            Instruction::Env(Env { pairs, legacy, original })
        }
        Keyword::Label => {
            let (pairs, legacy) = pairs(line)?;
            Instruction::Label(Label { pairs, legacy, original })
        }
        Keyword::Workdir => Instruction::Workdir(Workdir { path: line.one_argument()?, original }),
        Keyword::User => Instruction::User(User { user: line.one_argument()?, original }),
        Keyword::StopSignal => {
            Instruction::StopSignal(StopSignal { signal: line.one_argument()?, original })
        }
        Keyword::Maintainer => {
            Instruction::Maintainer(Maintainer { author: line.one_argument()?, original })
        }
        Keyword::Cmd => Instruction::Cmd(Cmd { command: line.command(), original }),
        Keyword::Entrypoint => {
            Instruction::Entrypoint(Entrypoint { command: line.command(), original })
        }
        Keyword::Expose => {
            let ports = words::plain(line.arguments);
            if ports.is_empty() {
                return Err(line.no_argument());
            }
            Instruction::Expose(Expose { ports, original })
        }
        Keyword::Volume => Instruction::Volume(volume(line)?),
        Keyword::Shell => Instruction::Shell(shell(line)?),
        keyword => return Err(ParseErrorKind::OnbuildTrigger { keyword }),
    })
}

fn arg(line: &Line<'_>) -> Result<Arg, ParseErrorKind> {
    let words = words::quoted(line.arguments, line.escape);
    if words.is_empty() {
        return Err(line.no_argument());
    }
    let declaration = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(ParseErrorKind::EmptyName { keyword: line.keyword }),
        Some((name, default)) => {
            Ok(ArgDeclaration { name: name.to_owned(), default: Some(default.to_owned()) })
        }
        None => Ok(ArgDeclaration { name: word.clone(), default: None }),
    };
    let declarations = words.iter().map(declaration).collect::<Result<_, _>>()?;
    Ok(Arg { declarations, original: line.original.to_owned() })
}

/// Reads the arguments of ENV and LABEL. The flag is true for the form without an equals sign,
/// which the first word decides.
fn pairs(line: &Line<'_>) -> Result<(Vec<Pair>, bool), ParseErrorKind> {
    let keyword = line.keyword;
    let words = words::quoted(line.arguments, line.escape);
    match words.first() {
        None => return Err(line.no_argument()),
        Some(first) if !first.contains('=') => {
            let (key, value) = words::split_first(line.arguments);
            let value = value.ok_or(ParseErrorKind::NoValue { keyword })?;
            let pair = Pair { key: key.to_owned(), value: value.to_owned() };
            return Ok((vec![pair], true));
        }
        Some(_) => {}
    }
    let pair = |word: &String| match word.split_once('=') {
        None => Err(ParseErrorKind::NoEquals { keyword, word: excerpt(word) }),
        Some(("", _)) => Err(ParseErrorKind::EmptyName { keyword }),
        Some((key, value)) => Ok(Pair { key: key.to_owned(), value: value.to_owned() }),
    };
    Ok((words.iter().map(pair).collect::<Result<_, _>>()?, false))
}

fn volume(line: &Line<'_>) -> Result<Volume, ParseErrorKind> {
    let words = line.json.clone().unwrap_or_else(|| words::plain(line.arguments));
    if words.is_empty() {
        return Err(line.no_argument());
    }
    let paths: Vec<String> = words.iter().map(|path| path.trim().to_owned()).collect();
    if paths.iter().any(String::is_empty) {
        return Err(ParseErrorKind::EmptyPath { keyword: line.keyword });
    }
    Ok(Volume { paths, original: line.original.to_owned() })
}

fn shell(line: &Line<'_>) -> Result<Shell, ParseErrorKind> {
    match &line.json {
        Some(arguments) if !arguments.is_empty() => {
            Ok(Shell { arguments: arguments.clone(), original: line.original.to_owned() })
        }
        None if !line.arguments.is_empty() => {
            Err(ParseErrorKind::NotJson { keyword: line.keyword })
        }
        _ => Err(line.no_argument()),
    }
}

fn healthcheck(line: &Line<'_>) -> Result<Healthcheck, ParseErrorKind> {
    let flags = line.flags(&[
        ("interval", Takes::Value),
        ("timeout", Takes::Value),
        ("start-period", Takes::Value),
        ("start-interval", Takes::Value),
        ("retries", Takes::Value),
    ])?;
    let (word, rest) = match line.arguments.split_once(char::is_whitespace) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (line.arguments, ""),
    };
    let check = match word.to_ascii_uppercase().as_str() {
        "" => return Err(line.no_argument()),
        "NONE" if rest.is_empty() => HealthcheckKind::None,
        "NONE" => return Err(ParseErrorKind::HealthcheckNone),
        "CMD" => {
            let command = match line::strings(line.keyword, rest)? {
                Some(strings) => Command::Exec(strings),
                None => Command::Shell(rest.to_owned()),
            };
            if command == Command::Exec(vec![]) || command == Command::Shell(String::new()) {
                return Err(ParseErrorKind::HealthcheckCommand);
            }
            HealthcheckKind::Probe(Probe {
                command,
                interval: nanoseconds(&flags, "interval")?,
                timeout: nanoseconds(&flags, "timeout")?,
                start_period: nanoseconds(&flags, "start-period")?,
                start_interval: nanoseconds(&flags, "start-interval")?,
                retries: retries(&flags)?,
            })
        }
        _ => return Err(ParseErrorKind::HealthcheckType { word: excerpt(word) }),
    };
    Ok(Healthcheck { check, original: line.original.to_owned() })
}

fn nanoseconds(flags: &Flags, flag: &'static str) -> Result<Option<u64>, ParseErrorKind> {
    const MILLISECOND: u64 = 1_000_000;
    let Some(value) = flags.value(flag) else { return Ok(None) };
    match duration::parse(&value) {
        Some(0) => Ok(None),
        Some(duration) if duration >= MILLISECOND => Ok(Some(duration)),
        _ => Err(ParseErrorKind::BadFlagValue {
            keyword: Keyword::Healthcheck,
            flag,
            value: excerpt(&value),
            expected: "a duration of at least 1ms, such as 1m30s",
        }),
    }
}

fn retries(flags: &Flags) -> Result<Option<u32>, ParseErrorKind> {
    let Some(value) = flags.value("retries") else { return Ok(None) };
    match value.parse::<i32>().map(u32::try_from) {
        Ok(Ok(retries)) => Ok((retries > 0).then_some(retries)),
        _ => Err(ParseErrorKind::BadFlagValue {
            keyword: Keyword::Healthcheck,
            flag: "retries",
            value: excerpt(&value),
            expected: "a number that is not negative",
        }),
    }
}

/// Reads an ONBUILD. Its trigger is read, too, so that errors are found here and not in the builds
/// of others; then it is kept as text.
fn onbuild(line: &Line<'_>, heredocs: Vec<Heredoc>) -> Result<Onbuild, ParseErrorKind> {
    line.flags(&[])?;
    if line.arguments.is_empty() {
        return Err(line.no_argument());
    }
    let mut trigger = line.arguments.to_owned();
    for heredoc in &heredocs {
        trigger.push('\n');
        trigger.push_str(&heredoc.body);
        trigger.push_str(&heredoc.name);
    }
    self::trigger(&Line::read(line.arguments, line.escape)?, heredocs)?;
    Ok(Onbuild { trigger, original: line.original.to_owned() })
}

/// Reads an instruction that runs in the children of an image.
pub(crate) fn trigger(
    line: &Line<'_>,
    heredocs: Vec<Heredoc>,
) -> Result<Instruction, ParseErrorKind> {
    match line.keyword {
        Keyword::From | Keyword::Maintainer | Keyword::Onbuild => {
            Err(ParseErrorKind::OnbuildTrigger { keyword: line.keyword })
        }
        _ => instruction(line, heredocs),
    }
}
