//! The `--name=value` words between an instruction's name and its arguments.

use crate::error::{ParseErrorKind, excerpt};
use crate::keyword::Keyword;

/// The value that a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A value, once.
    Value,
    /// A value, any number of times.
    Values,
    /// `true` or `false`, once; true without a value.
    Switch,
}

/// The flags that an instruction has.
pub(crate) type Known = &'static [(&'static str, Takes)];

/// Returns the flags at the beginning of `text`, with quotes and escapes processed, and the text
/// after them. The word `--` ends the flags and belongs to neither.
pub(crate) fn extract(text: &str, escape: char) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (flag, after) = first_word(rest, escape);
        rest = after.trim_start();
        if flag == "--" {
            break;
        }
        flags.push(flag);
    }
    (flags, rest.trim_end())
}

fn first_word(text: &str, escape: char) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == escape {
            word.extend(chars.next());
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_some() {
            word.push(c);
        } else if c == '\'' || c == '"' {
            quote = Some(c);
        } else if c.is_whitespace() {
            break;
        } else {
            word.push(c);
        }
    }
    (word, chars.as_str())
}

/// The flags of one instruction, checked against its known flags.
#[derive(Debug)]
pub(crate) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    /// Checks `words` against the `known` flags of `keyword`.
    ///
    /// **Errors**: a flag is unknown, given twice or without a value, or a switch is neither true
    /// nor false.
    pub fn read(keyword: Keyword, words: &[String], known: Known) -> Result<Self, ParseErrorKind> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for word in words {
            let (dashed, value) = match word.split_once('=') {
                Some((dashed, value)) => (dashed, Some(value)),
                None => (word.as_str(), None),
            };
            let name = dashed.strip_prefix("--").unwrap_or(dashed);
            let Some(&(flag, takes)) = known.iter().find(|(flag, _)| *flag == name) else {
                let suggestion = crate::suggest(name, known.iter().map(|(flag, _)| *flag));
                let flag = excerpt(dashed);
                return Err(ParseErrorKind::UnknownFlag { keyword, flag, suggestion });
            };
            if takes != Takes::Values && given.iter().any(|(other, _)| *other == flag) {
                return Err(ParseErrorKind::DuplicateFlag { keyword, flag });
            }
            let value = match value {
                Some(value) if takes != Takes::Switch => value.to_owned(),
                None if takes == Takes::Switch => "true".to_owned(),
                None | Some("") => return Err(ParseErrorKind::FlagWithoutValue { keyword, flag }),
                Some(value) => match value.to_ascii_lowercase() {
                    value if value == "true" || value == "false" => value,
                    _ => {
                        let expected = "true or false";
                        let value = excerpt(value);
                        return Err(ParseErrorKind::BadFlagValue {
                            keyword,
                            flag,
                            value,
                            expected,
                        });
                    }
                },
            };
            given.push((flag, value));
        }
        Ok(Flags(given))
    }

    /// Returns the value of a flag; `None` if it is absent or empty.
    pub fn value(&self, name: &str) -> Option<String> {
        self.values(name).find(|value| !value.is_empty()).map(str::to_owned)
    }

    /// Returns the values of a flag, in order.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// Returns the state of a switch; `None` if it is absent.
    pub fn switch(&self, name: &str) -> Option<bool> {
        self.values(name).next().map(|value| value == "true")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_end_at_the_first_other_word() {
        for (text, flags, rest) in [
            ("--a=1 --b c --d", &["--a=1", "--b"][..], "c --d"),
            (r#"--a="x y"'z' --b=x\ y c"#, &["--a=x yz", "--b=x y"], "c"),
            ("--a=1 -- --b", &["--a=1"], "--b"),
            ("--a", &["--a"], ""),
            ("--a='open b", &["--a=open b"], ""),
            ("-a --b", &[], "-a --b"),
            ("--a=é\\", &["--a=é"], ""),
            ("", &[], ""),
        ] {
            let (found, after) = extract(text, '\\');
            assert_eq!(
                (found.iter().map(String::as_str).collect::<Vec<_>>(), after),
                (flags.to_vec(), rest)
            );
        }
    }
}
