//! Functions of regular expressions.

use regex::{Captures, Regex, RegexBuilder};
use xbuild_wording::quoted;

use super::args::{Args, Native};
use crate::value::Value;

pub(super) const TABLE: &[(&str, Native)] = &[
    ("regex", |args| {
        args.count(2)?;
        let (pattern, text) = (pattern(args, 0)?, args.text(1)?);
        let found = pattern.captures(&text).map(|found| captured(&pattern, &found));
        found.ok_or_else(|| {
            format!("{} does not match {text}", quoted(pattern.as_str()), text = quoted(&text))
        })
    }),
    ("regex_replace", |args| {
        args.count(3)?;
        let (text, pattern, with) = (args.text(0)?, pattern(args, 1)?, args.text(2)?);
        // Each `$` of the replacement stands for at most the whole text.
        let each = with.len().saturating_add(with.matches('$').count().saturating_mul(text.len()));
        args.within(pattern.find_iter(&text).count().saturating_mul(each))?;
        Ok(Value::text(pattern.replace_all(&text, with.as_str())))
    }),
    ("regexall", |args| {
        args.count(2)?;
        let (pattern, text) = (pattern(args, 0)?, args.text(1)?);
        Ok(Value::List(
            pattern.captures_iter(&text).map(|found| captured(&pattern, &found)).collect(),
        ))
    }),
];

/// Compiles an argument.
fn pattern(args: &Args<'_>, at: usize) -> Result<Regex, String> {
    let text = args.text(at)?;
    let built = RegexBuilder::new(&text).size_limit(1 << 20).build();
    built.map_err(|error| format!("invalid pattern {text}: {error}", text = quoted(&text)))
}

/// Returns what a match has: the text, or its groups as a list or by name.
fn captured(pattern: &Regex, found: &Captures<'_>) -> Value {
    let group = |at: usize| found.get(at).map_or(Value::Null, |group| Value::text(group.as_str()));
    let names: Vec<_> = pattern.capture_names().enumerate().skip(1).collect();
    if names.is_empty() {
        return group(0);
    }
    if names.iter().any(|(_, name)| name.is_some()) {
        let named = names.iter().filter_map(|(at, name)| Some(((*name)?.to_owned(), group(*at))));
        return Value::Map(named.collect());
    }
    Value::List(names.iter().map(|(at, _)| group(*at)).collect())
}
