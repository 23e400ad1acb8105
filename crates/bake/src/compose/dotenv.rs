//! Files of environment variables: `.env` and those of `env_file`.
//!
//! **Source** — Compose file reference § env_file format.

use std::collections::BTreeMap;

use super::interpolate;
use super::lookup::Lookup;
use crate::place::without_mark;

/// Reads a file. Later lines see the variables of earlier ones; those of `lookup` come first. `unset` is
/// told of each variable that a line uses and that has no value.
pub(crate) fn parse(
    text: &str,
    lookup: &Lookup<'_>,
    unset: &dyn Fn(usize, &str),
) -> Result<BTreeMap<String, String>, String> {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    let mut rest = without_mark(text);
    let mut line = 0;
    while !rest.is_empty() {
        line += 1;
        let end = rest.find('\n').unwrap_or(rest.len());
        let (this, after) = (&rest[..end], rest.get(end + 1..).unwrap_or_default());
        let trimmed = this.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            rest = after;
            continue;
        }
        let trimmed = trimmed.strip_prefix("export ").unwrap_or(trimmed).trim_start();
        let at = line;
        let fail = |reason: &str| format!("line {at}: {reason}");
        let separator = trimmed.find(['=', ':']);
        let Some(separator) = separator else {
            // A name alone is the variable of the environment.
            if let Some(value) = lookup(trimmed) {
                variables.insert(trimmed.to_owned(), value);
            }
            rest = after;
            continue;
        };
        let name = trimmed[..separator].trim();
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(fail("expected NAME=VALUE"));
        }
        let value = trimmed[separator + 1..].trim_start();
        let see = |name: &str| lookup(name).or_else(|| variables.get(name).cloned());
        let text_of = |text: &str| interpolate::text_of(text, &see, &|name| unset(at, name));
        let value = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                // The value ends where the line does, save for blanks.
                let start = this.trim_end().len() - value.len() + 1;
                let (inner, behind) =
                    quoted(&rest[start..], quote).ok_or_else(|| fail("the quote has no end"))?;
                line += inner.matches('\n').count();
                let behind = behind.find('\n').map_or("", |at| &behind[at + 1..]);
                rest = behind;
                match quote {
                    '"' => text_of(&unescaped(inner)).map_err(|e| fail(&e))?,
                    _ => inner.to_owned(),
                }
            }
            _ => {
                rest = after;
                let value = value.find(" #").map_or(value, |at| &value[..at]).trim_end();
                text_of(value).map_err(|e| fail(&e))?
            }
        };
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

/// Splits a text at the quote that ends it.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' && quote == '"' {
            is_escaped = true;
        } else if c == quote {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

fn unescaped(text: &str) -> String {
    let mut result = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            result.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => result.push('\n'),
            Some('r') => result.push('\r'),
            Some('t') => result.push('\t'),
            Some('$') => result.push_str("$$"),
            Some(other) => result.push(other),
            None => result.push('\\'),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_quotes_and_references() {
        let lookup = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        let text = "# c\nA=1\nexport B=two words # c\nC=\"x\\ny ${A}\"\nD='$A'\nE=${HOME}/e\nHOME\n\
                    F=\"one\ntwo\"\nG: colon\nNONE\n";
        let found = parse(text, &lookup, &|_, _| ()).unwrap();
        for (name, value) in [
            ("A", "1"),
            ("B", "two words"),
            ("C", "x\ny 1"),
            ("D", "$A"),
            ("E", "/h/e"),
            ("HOME", "/h"),
            ("F", "one\ntwo"),
            ("G", "colon"),
        ] {
            assert_eq!(found.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!found.contains_key("NONE"));
        assert!(parse("A=\"x", &lookup, &|_, _| ()).is_err());
        assert!(parse("A B=1", &lookup, &|_, _| ()).is_err());
    }
}
