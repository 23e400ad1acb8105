//! Physical lines, and the instructions that they make up.

use std::borrow::Cow;

use crate::directive::{self, Directives};
use crate::error::ParseErrorKind;
use crate::instruction::{Comment, Directive};

/// A line of the file with its line end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    bytes: &'a [u8],
    pub number: u32,
}

impl<'a> Line<'a> {
    /// Returns the line as text.
    ///
    /// **Errors**: it is not UTF-8, or holds a NUL.
    pub fn text(self) -> Result<&'a str, ParseErrorKind> {
        let line = self.number;
        if self.bytes.contains(&0) {
            return Err(ParseErrorKind::NulByte { line });
        }
        std::str::from_utf8(self.bytes).map_err(|_| ParseErrorKind::NotUtf8 { line })
    }

    /// Returns the line without its line end, even if it is not valid text, to find out its kind.
    fn content(self) -> Cow<'a, str> {
        let end = self.bytes.iter().rposition(|b| !matches!(b, b'\r' | b'\n'));
        String::from_utf8_lossy(&self.bytes[..end.map_or(0, |last| last + 1)])
    }
}

/// The content of the next lines of a file.
#[derive(Debug)]
pub(crate) enum Item {
    /// A parser directive.
    Directive(Directive),
    /// An instruction.
    Instruction(Joined),
}

/// An instruction on one line, without comments, continuations and line ends.
#[derive(Debug)]
pub(crate) struct Joined {
    /// The text, not blank.
    pub text: String,
    /// The first of the empty lines within it.
    pub empty_line: Option<u32>,
    /// The comments above, if there are any.
    pub above: Option<Comment>,
}

/// Reads a file line by line.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    /// The number of the last line read; 0 before the first.
    pub number: u32,
    directives: Directives,
    pub escape: char,
    /// Whether the file begins with the byte order mark of UTF-16.
    pub is_utf16: bool,
    /// The comments since the last instruction. Their line is that of the description.
    comments: Comment,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a [u8]) -> Self {
        Lines {
            rest: text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text),
            number: 0,
            directives: Directives::default(),
            escape: '\\',
            is_utf16: text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff"),
            comments: Comment::default(),
        }
    }

    /// Returns the next physical line.
    pub fn next_line(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|&b| b == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (bytes, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.number = self.number.saturating_add(1);
        Some(Line { bytes, number: self.number })
    }

    /// Returns the next directive or instruction and the number of its first line.
    pub fn next_item(&mut self) -> Option<(u32, Result<Item, ParseErrorKind>)> {
        while let Some(line) = self.next_line() {
            if let Some(item) = self.item_from(line).transpose() {
                return Some((line.number, item));
            }
        }
        None
    }

    fn item_from(&mut self, line: Line<'a>) -> Result<Option<Item>, ParseErrorKind> {
        let content = line.content();
        let start = content.trim_start();
        if let Some(directive) = self.directives.read(start)? {
            if let Directive::Escape(escape) = directive {
                self.escape = escape;
            }
            return Ok(Some(Item::Directive(directive)));
        }
        // Comments need not be text.
        if let Some(comment) = start.strip_prefix('#') {
            self.comment(line.number, comment.trim());
            return Ok(None);
        }
        if start.is_empty() {
            return Ok(None);
        }
        let joined = self.join(line, start)?;
        Ok((!joined.text.is_empty()).then_some(Item::Instruction(joined)))
    }

    /// Reads the lines that continue the `first`, whose text begins at `start`.
    ///
    /// **Errors**: one of the lines is not text. All of them are read nonetheless, so that the next
    /// instruction is found.
    fn join(&mut self, first: Line<'a>, start: &str) -> Result<Joined, ParseErrorKind> {
        let mut checked = first.text().map(drop);
        let (part, mut continues) = self.strip_continuation(start);
        let mut text = part.to_owned();
        let (mut empty_line, above) = (None, self.comments_above(first.number));
        while continues && let Some(line) = self.next_line() {
            let content = line.content();
            let trimmed = content.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                empty_line.get_or_insert(line.number);
                continue;
            }
            checked = checked.and(line.text().map(drop));
            let (part, more) = self.strip_continuation(&content);
            text.push_str(part);
            continues = more;
        }
        checked?;
        let trimmed = text.trim();
        let text = if trimmed.len() == text.len() { text } else { trimmed.to_owned() };
        Ok(Joined { text, empty_line, above })
    }

    /// Remembers a comment. A comment without text separates the comments above it from the
    /// instruction.
    fn comment(&mut self, line: u32, text: &str) {
        if text.is_empty() {
            self.comments = Comment::default();
            return;
        }
        if let Some(("check", value)) = directive::split(text) {
            self.comments.check = Some(value.to_owned());
        }
        self.comments.description = Some(text.to_owned());
        self.comments.texts.push(text.to_owned());
        self.comments.line = line;
    }

    /// Returns the comments above an instruction.
    fn comments_above(&mut self, line: u32) -> Option<Comment> {
        let comments = std::mem::take(&mut self.comments);
        let near = comments.line + 1 == line;
        let comment =
            Comment { line, description: comments.description.filter(|_| near), ..comments };
        (!comment.texts.is_empty()).then_some(comment)
    }

    /// Returns the line without the escape character at its end, and whether there was one that is
    /// not itself escaped.
    fn strip_continuation<'t>(&self, line: &'t str) -> (&'t str, bool) {
        match line.trim_end_matches([' ', '\t']).strip_suffix(self.escape) {
            Some(part) if !part.ends_with(self.escape) => (part, true),
            _ => (line, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(text: &[u8]) -> Vec<(u32, u32, String)> {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        while let Some((first, item)) = lines.next_item() {
            let text = match item {
                Ok(Item::Instruction(joined)) => joined.text,
                Ok(Item::Directive(directive)) => format!("{directive:?}"),
                Err(error) => error.to_string(),
            };
            found.push((first, lines.number, text));
        }
        found
    }

    #[track_caller]
    fn check(text: &[u8], expected: &[(u32, u32, &str)]) {
        let found = joined(text);
        let found: Vec<_> = found.iter().map(|(a, b, text)| (*a, *b, text.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn continued_lines_are_joined() {
        check(b"A a \\\n  b\nB\n", &[(1, 2, "A a   b"), (3, 3, "B")]);
        check(b"A a \\ \t\r\n\r\n \t\n  # c \\\n#\n b", &[(1, 6, "A a  b")]);
        check(b"A \\", &[(1, 1, "A")]);
        check(b"\\\nA\n\\\n", &[(1, 2, "A")]);
        check(b"A a\\\\\nB", &[(1, 1, "A a\\\\"), (2, 2, "B")]);
        check(b"A a\\\\\\\nB", &[(1, 1, "A a\\\\\\"), (2, 2, "B")]);
        check(b"# escape=`\nA `\nb\\\nB", &[(1, 1, "Escape('`')"), (2, 3, "A b\\"), (4, 4, "B")]);
    }

    #[test]
    fn only_instructions_must_be_text() {
        check(b"# \xff\0\nA \\\n# \xff\nb\n", &[(2, 4, "A b")]);
        check(b"A \xff\\\nb\nB\n", &[(1, 2, "line 1 is not valid UTF-8"), (3, 3, "B")]);
        check(b"A \\\n\0b\nB", &[(1, 2, "line 2 holds a NUL byte"), (3, 3, "B")]);
        check("\u{feff}\u{a0}A\r\n\u{a0}# c".as_bytes(), &[(1, 1, "A")]);
    }
}
