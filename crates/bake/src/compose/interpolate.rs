//! `$NAME` and `${NAME:-default}` in the values of compose files.
//!
//! **Source** — Compose file reference § Interpolation.

use xbuild_wording::quoted;

use super::lookup::{Lookup, Unset};
use super::yaml::{Node, Yaml};
use crate::error::BakeError;

/// Puts the values of variables into all strings of a node.
pub(crate) fn interpolate(
    node: &mut Node,
    lookup: &Lookup<'_>,
    unset: &Unset,
) -> Result<(), BakeError> {
    match &mut node.value {
        Yaml::String(text) if text.contains('$') => {
            let replaced = text_of(text, lookup, &|name| unset.note(name, &node.place));
            let fail = |reason| BakeError::invalid(&node.place, reason);
            *text = replaced.map_err(fail)?;
        }
        Yaml::List(nodes) => {
            for node in nodes {
                interpolate(node, lookup, unset)?;
            }
        }
        Yaml::Map(pairs) => {
            for (_, node) in pairs {
                interpolate(node, lookup, unset)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// How deep `${A:-${B:-..}}` may go.
const DEEPEST: usize = 16;

/// Returns a text with the values of its variables. `unset` is told of each one that has none where
/// the text does not say what stands for it.
///
/// A `$` that begins neither a name nor `${` is a character as any other.
pub(crate) fn text_of(
    text: &str,
    lookup: &Lookup<'_>,
    unset: &dyn Fn(&str),
) -> Result<String, String> {
    Source { lookup, unset }.text(text, 0)
}

struct Source<'a> {
    lookup: &'a Lookup<'a>,
    unset: &'a dyn Fn(&str),
}

impl Source<'_> {
    fn text(&self, text: &str, depth: usize) -> Result<String, String> {
        if depth > DEEPEST {
            return Err(format!("{text} goes too deep", text = quoted(&text)));
        }
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            result.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let end = name_end(rest);
            if let Some(after) = rest.strip_prefix('{') {
                let end = closing(after)
                    .ok_or_else(|| format!("{text}: ${{ has no }}", text = quoted(&text)))?;
                result.push_str(&self.braced(&after[..end], depth)?);
                rest = &after[end + 1..];
            } else if end > 0 {
                result.push_str(&self.value(&rest[..end]));
                rest = &rest[end..];
            } else {
                result.push('$');
                rest = rest.strip_prefix('$').unwrap_or(rest);
            }
        }
        Ok(result + rest)
    }

    /// Returns the value of a variable that should be set.
    fn value(&self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            (self.unset)(name);
            String::new()
        })
    }

    fn braced(&self, inner: &str, depth: usize) -> Result<String, String> {
        let (name, rest) = inner.split_at(name_end(inner));
        if name.is_empty() {
            return Err(format!("${{{inner}}} names no variable; a $ for itself is written $$"));
        }
        let (is_strict, operator) = match rest.strip_prefix(':') {
            Some(operator) => (true, operator),
            None => (false, rest),
        };
        let mut chars = operator.chars();
        let (kind, argument) = (chars.next(), chars.as_str());
        if kind.is_none() && !is_strict {
            return Ok(self.value(name));
        }
        let present = (self.lookup)(name).filter(|value| !is_strict || !value.is_empty());
        match (kind, present) {
            (Some('-' | '?'), Some(value)) => Ok(value),
            (Some('-'), None) | (Some('+'), Some(_)) => self.text(argument, depth + 1),
            (Some('+'), None) => Ok(String::new()),
            (Some('?'), None) => {
                let reason = self.text(argument, depth + 1)?;
                let reason = if reason.is_empty() { "it is required".to_owned() } else { reason };
                Err(format!("variable {name} is missing: {reason}"))
            }
            _ => Err(format!(
                "${{{inner}}} is no variable: expected ${{NAME}}, or :- :? :+ behind the name"
            )),
        }
    }
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
            ("a $ b$", "a $ b$"),
            ("x$)$1 $? $( $-$$$", "x$)$1 $? $( $-$$"),
            ("$$$A$$$$", "$a$$"),
        ] {
            assert_eq!(text_of(text, lookup, &|_| ()).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["${A", "${}", "${1}", "${B:?no}", "${EMPTY:?}", "${A!x}", "${A:}"] {
            assert!(text_of(bad, lookup, &|_| ()).is_err(), "{bad}");
        }
    }

    #[test]
    fn tells_of_variables_that_are_not_set() {
        let lookup = |name: &str| (name == "EMPTY").then(String::new);
        let unset = std::cell::RefCell::new(Vec::new());
        let note = |name: &str| unset.borrow_mut().push(name.to_owned());
        let text = "$A ${B} ${C:-} ${D+x} $EMPTY ${EMPTY} ${E:-$F}";
        assert_eq!(text_of(text, &lookup, &note).as_deref(), Ok("      "));
        assert_eq!(unset.into_inner(), ["A", "B", "F"]);
    }
}
