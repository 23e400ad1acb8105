//! Patterns of names: those of COPY sources ([`Glob`]) and those of ignore files, `--exclude` and
//! `--parents` ([`PatternList`]).
//!
//! Names are bytes; `?` and classes take one character, or one byte where the name is no UTF-8.
//! Sources: Go 1.25 `path/filepath` § Match; moby/patternmatcher 0.6, whose special cases are
//! kept because ignore files rely on them.

mod automaton;
mod glob;
mod ignore;
mod list;

pub(crate) use glob::Glob;
pub use ignore::IgnoreRules;
pub(crate) use list::{Matched, PatternList};

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A class without end or with an empty range, or a lone backslash at the end.
    #[error("syntax error in pattern {pattern:?}")]
    Syntax {
        /// The pattern, shortened, bytes that are no UTF-8 replaced.
        pattern: String,
    },
    /// A `!` with nothing behind it.
    #[error("a \"!\" without a pattern")]
    LoneNegation,
}

impl PatternError {
    fn syntax(pattern: &[u8]) -> Self {
        Self::Syntax { pattern: String::from_utf8_lossy(pattern).chars().take(200).collect() }
    }
}

/// Returns `path` as Go's `filepath.Clean` does: without empty and `.` parts, `..` resolved as far
/// as it goes; `.` for nothing. A leading slash stays.
fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (absolute, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests;
