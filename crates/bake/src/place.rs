//! Places in files, for errors.

use std::fmt;
use std::sync::Arc;

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The name of the file, as it was given.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
}

impl Place {
    /// Returns a line of a file.
    pub(crate) fn new(file: &Arc<str>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Returns a text without the byte order mark that editors of Windows begin files with.
pub(crate) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The starts of the lines of a text, to find the line of an offset.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Arc<str>,
    starts: Vec<usize>,
}

impl Lines {
    /// Indexes a text.
    pub(crate) fn of(file: &Arc<str>, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { file: Arc::clone(file), starts }
    }

    /// Returns the line that a byte is in.
    pub(crate) fn at(&self, offset: usize) -> Place {
        Place::new(&self.file, self.starts.partition_point(|start| *start <= offset).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_of_a_byte() {
        let lines = Lines::of(&Arc::from("f"), "a\nbc\n\nd");
        for (offset, line) in [(0, 1), (1, 1), (2, 2), (4, 2), (5, 3), (6, 4), (99, 4)] {
            assert_eq!(lines.at(offset).line, line, "{offset}");
        }
    }
}
