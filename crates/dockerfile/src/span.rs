//! Places in a Dockerfile.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// A run of lines of one Dockerfile.
///
/// **Units**: 1-based lines; both ends belong to the span. A span covers all lines of an
/// instruction, continuations, heredoc bodies and their terminators included.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The display name of the file, as given to [`crate::parse()`].
    pub file: Arc<str>,
    /// First to last line.
    pub lines: RangeInclusive<u32>,
}

impl Span {
    /// Returns the span of the lines `first` to `last` of `file`.
    pub fn new(file: &Arc<str>, first: u32, last: u32) -> Self {
        Span { file: Arc::clone(file), lines: first..=last }
    }
}

impl fmt::Display for Span {
    /// Writes `file:3` or `file:3-5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.lines.start(), self.lines.end());
        write!(f, "{}:{first}", self.file)?;
        if last > first {
            write!(f, "-{last}")?;
        }
        Ok(())
    }
}

/// A value with the lines that it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its lines.
    pub span: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_names_one_line_or_a_range() {
        let file: Arc<str> = "Dockerfile".into();
        assert_eq!(Span::new(&file, 3, 3).to_string(), "Dockerfile:3");
        assert_eq!(Span::new(&file, 3, 5).to_string(), "Dockerfile:3-5");
    }
}
