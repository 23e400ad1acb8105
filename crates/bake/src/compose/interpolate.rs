//! `$NAME` and `${NAME:-default}` in the values of compose files.
//!
//! **Source** — Compose file reference § Interpolation.

use xbuild_wording::quoted;

use crate::compose::yaml::{Node, Yaml};
use crate::error::BakeError;

/// Returns the value of a variable.
pub(crate) type Lookup<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Puts the values of variables into all strings of a node.
pub(crate) fn interpolate(node: &mut Node, lookup: &Lookup<'_>) -> Result<(), BakeError> {
    match &mut node.value {
        Yaml::String(text) if text.contains('$') => {
            let replaced = text_of(text, lookup, 0);
            let fail = |reason| BakeError::invalid(&node.place, reason);
            *text = replaced.map_err(fail)?;
        }
        Yaml::List(nodes) => {
            for node in nodes {
                interpolate(node, lookup)?;
            }
        }
        Yaml::Map(pairs) => {
            for (_, node) in pairs {
                interpolate(node, lookup)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// How deep `${A:-${B:-..}}` may go.
const DEEPEST: usize = 16;

/// Returns a text with the values of its variables.
pub(crate) fn text_of(text: &str, lookup: &Lookup<'_>, depth: usize) -> Result<String, String> {
    if depth > DEEPEST {
        return Err(format!("{text} goes too deep", text = quoted(&text)));
    }
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after)
                .ok_or_else(|| format!("{text}: ${{ has no }}", text = quoted(&text)))?;
            result.push_str(&braced(&after[..end], lookup, depth)?);
            rest = &after[end + 1..];
        } else {
            let end = name_end(rest);
            if end == 0 {
                return Err(format!(
                    "{text}: a $ that stands for itself is written $$",
                    text = quoted(&text)
                ));
            }
            result.push_str(&lookup(&rest[..end]).unwrap_or_default());
            rest = &rest[end..];
        }
    }
    Ok(result + rest)
}

/// Returns the length of the name that a text begins with.
fn name_end(text: &str) -> usize {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    match text.starts_with(is_start) {
        true => text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len()),
        false => 0,
    }
}

/// Finds the brace that ends a `${`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut last = '\0';
    for (at, c) in text.char_indices() {
        match c {
            '{' if last == '$' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
        last = c;
    }
    None
}

fn braced(inner: &str, lookup: &Lookup<'_>, depth: usize) -> Result<String, String> {
    let (name, rest) = inner.split_at(name_end(inner));
    if name.is_empty() {
        return Err(format!("${{{inner}}} names no variable"));
    }
    let value = lookup(name);
    let (is_strict, operator) = match rest.strip_prefix(':') {
        Some(operator) => (true, operator),
        None => (false, rest),
    };
    let present = value.filter(|value| !is_strict || !value.is_empty());
    let mut chars = operator.chars();
    let (kind, argument) = (chars.next(), chars.as_str());
    match (kind, present) {
        (None, present) if !is_strict => Ok(present.unwrap_or_default()),
        (Some('-' | '?'), Some(value)) => Ok(value),
        (Some('-'), None) | (Some('+'), Some(_)) => text_of(argument, lookup, depth + 1),
        (Some('+'), None) => Ok(String::new()),
        (Some('?'), None) => {
            let reason = text_of(argument, lookup, depth + 1)?;
            let reason = if reason.is_empty() { "it is required".to_owned() } else { reason };
            Err(format!("variable {name} is missing: {reason}"))
        }
        _ => Err(format!(
            "${{{inner}}} is no variable: expected ${{NAME}}, or :- :? :+ behind the name"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_variables() {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let lookup: &Lookup<'_> = &lookup;
        for (text, expected) in [
            ("$A-${A}", "a-a"),
            ("$$A", "$A"),
            ("${B:-x}${EMPTY:-y}${EMPTY-z}", "xy"),
            ("${B:-${A}}", "a"),
            ("${A:+set}${B+set}", "set"),
            ("${A?no}", "a"),
            ("${B}", ""),
        ] {
            assert_eq!(text_of(text, lookup, 0).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["${A", "$", "${}", "${B:?no}", "${EMPTY:?}", "${A!x}", "a $ b"] {
            assert!(text_of(bad, lookup, 0).is_err(), "{bad}");
        }
    }
}
