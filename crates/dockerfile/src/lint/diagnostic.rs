//! Warnings as values.

use super::rule::Rule;
use crate::span::Span;

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Diagnostic {
    /// The rule.
    pub rule: Rule,
    /// The message for people: lower case, no period.
    pub message: String,
    /// The place.
    pub span: Span,
}

/// The warnings of a file, in the order of its lines, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Returns the warnings in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Returns the number of warnings.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no warnings.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(warnings: I) -> Self {
        let mut seen = std::collections::HashSet::new();
        let mut list: Vec<Diagnostic> =
            warnings.into_iter().filter(|warning| seen.insert(warning.clone())).collect();
        list.sort_by_key(|warning| (*warning.span.lines.start(), warning.rule));
        Self(list)
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
