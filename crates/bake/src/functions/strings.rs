//! Functions of strings and paths.

use super::args::{Args, Native};
use super::letters;
use crate::number;
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("basename", |args| text(args, |text| base(&text))),
    ("byteslen", |args| {
        args.count(1)?;
        Ok(Value::Number(number::from_length(args.text(0)?.len())))
    }),
    ("chomp", |args| text(args, |text| text.trim_end_matches(['\r', '\n']).to_owned())),
    ("dirname", |args| text(args, |text| folder(&text))),
    ("homedir", |args| {
        args.count(0)?;
        Ok(Value::text(args.world.home.clone()))
    }),
    ("indent", |args| {
        args.count(2)?;
        let spaces = " ".repeat(args.length(0)?.min(1000));
        args.within(args.text(1)?.matches('\n').count().saturating_mul(spaces.len()))?;
        Ok(Value::text(args.text(1)?.replace('\n', &format!("\n{spaces}"))))
    }),
    ("join", join),
    ("lower", |args| text(args, |text| text.chars().map(letters::lower).collect())),
    ("replace", |args| {
        args.count(3)?;
        let (text, what, with) = (args.text(0)?, args.text(1)?, args.text(2)?);
        args.within(text.matches(&what).count().saturating_mul(with.len()))?;
        Ok(Value::text(text.replace(&what, &with)))
    }),
    ("reverse", |args| text(args, |text| letters::characters(&text).into_iter().rev().collect())),
    ("sanitize", |args| text(args, |text| sanitized(&text))),
    ("sort", |args| {
        args.count(1)?;
        let mut texts = args.texts(0)?;
        texts.sort();
        Ok(Value::texts(texts))
    }),
    ("split", split),
    ("strlen", |args| {
        args.count(1)?;
        Ok(Value::Number(number::from_length(letters::characters(&args.text(0)?).len())))
    }),
    ("substr", substring),
    ("title", |args| text(args, |text| letters::title(&text))),
    ("trim", |args| {
        args.count(2)?;
        let cut = args.text(1)?;
        Ok(Value::text(args.text(0)?.trim_matches(|c| cut.contains(c))))
    }),
    ("trimprefix", |args| {
        args.count(2)?;
        let (text, prefix) = (args.text(0)?, args.text(1)?);
        Ok(Value::text(text.strip_prefix(&prefix).unwrap_or(&text)))
    }),
    ("trimspace", |args| text(args, |text| text.trim().to_owned())),
    ("trimsuffix", |args| {
        args.count(2)?;
        let (text, suffix) = (args.text(0)?, args.text(1)?);
        Ok(Value::text(text.strip_suffix(&suffix).unwrap_or(&text)))
    }),
    ("upper", |args| text(args, |text| text.chars().map(letters::upper).collect())),
];

fn text(args: &Args<'_>, function: fn(String) -> String) -> Result<Value, String> {
    args.count(1)?;
    Ok(Value::String(function(args.text(0)?)))
}

/// Returns a text as part of the name of a target.
pub(crate) fn sanitized(text: &str) -> String {
    let is_good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.chars().map(|c| if is_good(c) { c } else { '_' }).collect()
}

fn base(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match (path, trimmed) {
        ("", _) => ".".to_owned(),
        (_, "") => "/".to_owned(),
        (_, trimmed) => trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned(),
    }
}

/// Returns the path without its last name, without `.` and with `..` worked out.
fn folder(path: &str) -> String {
    let parent = path.rfind('/').map_or("", |at| &path[..=at]);
    clean(parent)
}

/// Returns the shortest path that means the same.
pub(crate) fn clean(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => {
                names.pop();
            }
            ".." if is_absolute => {}
            name => names.push(name),
        }
    }
    match (is_absolute, names.is_empty()) {
        (true, _) => format!("/{}", names.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => names.join("/"),
    }
}

fn join(args: &Args<'_>) -> Result<Value, String> {
    let separator = args.text(0)?;
    let mut all = Vec::new();
    for at in 1..args.values.len() {
        all.extend(args.texts(at)?);
    }
    args.within(all.len().saturating_mul(separator.len()))?;
    match args.values.len() {
        0 | 1 => Err("expected a list".to_owned()),
        _ => Ok(Value::text(all.join(&separator))),
    }
}

fn split(args: &Args<'_>) -> Result<Value, String> {
    args.count(2)?;
    let (separator, text) = (args.text(0)?, args.text(1)?);
    Ok(match separator.is_empty() {
        true => Value::texts(text.chars()),
        false => Value::texts(text.split(&separator)),
    })
}

fn substring(args: &Args<'_>) -> Result<Value, String> {
    args.count(3)?;
    let text = args.text(0)?;
    let chars = letters::characters(&text);
    let (offset, length) = (args.integer(1)?, args.integer(2)?);
    let start = match usize::try_from(offset) {
        Ok(offset) => offset.min(chars.len()),
        Err(_) => {
            let from_end = usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX);
            chars.len().saturating_sub(from_end)
        }
    };
    let rest = &chars[start..];
    let length = usize::try_from(length).unwrap_or(rest.len()).min(rest.len());
    Ok(Value::String(rest[..length].concat()))
}
