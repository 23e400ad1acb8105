//! The parser directives at the top of a file: `# escape=`, `# syntax=`, `# check=`.

use crate::error::ParseErrorKind;
use crate::instruction::Directive;
use crate::lint::Checks;

/// Reads the directive block, one line after the other.
///
/// The block ends with the first line that is not a known directive, even if it is a comment.
#[derive(Debug, Default)]
pub(crate) struct Directives {
    ended: bool,
    lines: u32,
    /// Whether the file begins with `#!`. Tools then look for `syntax` and `check` below that line,
    /// but for the parser it is an ordinary comment, so `escape` is not a directive.
    below_shebang: bool,
    seen: Vec<&'static str>,
}

impl Directives {
    /// Returns the directive on the next line, if it is one; the line is given without leading
    /// blanks.
    pub fn read(&mut self, line: &str) -> Result<Option<Directive>, ParseErrorKind> {
        if self.ended {
            return Ok(None);
        }
        self.lines += 1;
        if self.lines == 1 && line.starts_with("#!") {
            self.below_shebang = true;
            return Ok(None);
        }
        let Some((name, value)) = line.strip_prefix('#').and_then(split) else {
            self.ended = true;
            return Ok(None);
        };
        if self.seen.contains(&name) {
            return Err(ParseErrorKind::DuplicateDirective { name });
        }
        self.seen.push(name);
        match name {
            "escape" if self.below_shebang => {
                self.ended = true;
                Ok(None)
            }
            "escape" => match value {
                "\\" => Ok(Some(Directive::Escape('\\'))),
                "`" => Ok(Some(Directive::Escape('`'))),
                _ => Err(ParseErrorKind::BadEscape { value: value.to_owned() }),
            },
            "syntax" if is_built_in(value) => Ok(Some(Directive::Syntax(value.to_owned()))),
            "syntax" => Err(ParseErrorKind::UnsupportedSyntax { value: value.to_owned() }),
            _ => match Checks::parse(value) {
                Ok(_) => Ok(Some(Directive::Check(value.to_owned()))),
                Err(source) => Err(ParseErrorKind::BadCheck { source }),
            },
        }
    }
}

/// Splits `name = value` if `name` is a directive.
pub(crate) fn split(comment: &str) -> Option<(&'static str, &str)> {
    let (name, value) = comment.split_once('=')?;
    let name = name.trim();
    let known = ["escape", "syntax", "check"];
    let name = known.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    let value = value.trim();
    (!value.is_empty()).then_some((name, value))
}

/// Returns whether this parser understands the dialect of the frontend image: any version and
/// channel of BuildKit's own images, from any registry (mirrors are common).
fn is_built_in(value: &str) -> bool {
    let image = value.split_whitespace().next().unwrap_or_default();
    let image = image.split('@').next().unwrap_or_default();
    let (path, name) = match image.rsplit_once('/') {
        Some((path, name)) => (path, name),
        None => return false,
    };
    let name = name.split(':').next().unwrap_or_default();
    (path == "docker" || path.ends_with("/docker"))
        && (name == "dockerfile" || name == "dockerfile-upstream")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(lines: &[&str]) -> Result<Vec<Directive>, ParseErrorKind> {
        let mut directives = Directives::default();
        lines.iter().filter_map(|line| directives.read(line).transpose()).collect()
    }

    #[test]
    fn the_block_ends_with_the_first_other_line() {
        let escape = Directive::Escape('`');
        for (lines, expected) in [
            (&["#escape=`"][..], vec![escape.clone()]),
            (&["# EsCape  =  ` "], vec![escape.clone()]),
            (&["# a comment", "# escape=`"], vec![]),
            (&["", "# escape=`"], vec![]),
            (&["# other=x", "# escape=`"], vec![]),
            (&["# escape="], vec![]),
            (&["#!/usr/bin/env x", "# escape=`"], vec![]),
            (&["#!x", "# check=skip=all"], vec![Directive::Check("skip=all".into())]),
            (
                &["# syntax=docker/dockerfile:1", "# escape=`", "FROM a"],
                vec![Directive::Syntax("docker/dockerfile:1".into()), escape],
            ),
        ] {
            assert_eq!(read_all(lines), Ok(expected), "{lines:?}");
        }
        assert!(read_all(&["# escape=`", "# escape=`"]).is_err());
        assert!(read_all(&["# escape=x"]).is_err());
        assert!(read_all(&["# check=skp=all"]).is_err());
    }

    #[test]
    fn only_the_dialect_of_buildkit_is_built_in() {
        for image in [
            "docker/dockerfile",
            "docker/dockerfile:1.20-labs",
            "docker/dockerfile:1@sha256:00",
            "docker/dockerfile-upstream:master arg",
            "mirror.example:5000/hub/docker/dockerfile:1",
        ] {
            assert!(is_built_in(image), "{image}");
        }
        for image in ["dockerfile", "docker/buildfile", "notdocker/dockerfile", "other/docker/x"] {
            assert!(!is_built_in(image), "{image}");
        }
    }
}
