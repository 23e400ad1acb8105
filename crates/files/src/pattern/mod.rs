//! Patterns of names: those of COPY sources ([`Glob`]), and those of ignore files, `--exclude` and
//! `--parents` ([`PatternList`]).
//!
//! Names are bytes. `?` and classes match one character, or one byte that is not UTF-8. Sources: Go
//! 1.25 `path/filepath` § Match; moby/patternmatcher 0.6, whose special cases are kept because
//! ignore files rely on them.

mod automaton;
mod clean;
mod glob;
mod ignore;
mod list;

pub(crate) use glob::Glob;
pub use ignore::IgnoreRules;
pub(crate) use list::{Matched, PatternList};

#[cfg(test)]
mod tests;
