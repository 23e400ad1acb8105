//! Warnings as values.

use std::fmt;

use crate::span::Span;

/// The stable name of a warning, as in `# check=skip=NAME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// A blank line stands within a continued instruction.
    NoEmptyContinuation,
    /// Two stages have the same name; a reference means the last one before it.
    DuplicateStageName,
    /// MAINTAINER is out of use.
    MaintainerDeprecated,
    /// `ENV name value` or `LABEL name value`, without an equals sign.
    LegacyKeyValueFormat,
}

impl Code {
    /// Returns the name of the rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::NoEmptyContinuation => "NoEmptyContinuation",
            Code::DuplicateStageName => "DuplicateStageName",
            Code::MaintainerDeprecated => "MaintainerDeprecated",
            Code::LegacyKeyValueFormat => "LegacyKeyValueFormat",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which rule.
    pub code: Code,
    /// What is wrong, for people; lower case, no period.
    pub message: String,
    /// Where.
    pub span: Span,
}

/// The warnings of a file, in the order of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// Adds a warning at the end.
    pub fn push(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.0.push(Diagnostic { code, message: message.into(), span });
    }

    /// Returns the warnings in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
