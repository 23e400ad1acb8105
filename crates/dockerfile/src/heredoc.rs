//! Heredocs: finding `<<WORD` in a line, and reading the bodies below the line.

use crate::error::ParseErrorKind;
use crate::expand::{literal_words, raw_words};
use crate::instruction::Heredoc;
use crate::lines::Lines;

/// The opening of a heredoc.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opening {
    word: String,
    name: String,
    expand: bool,
    strip_tabs: bool,
}

impl Opening {
    /// Reads a word as `[DIGITS]<<[-]DELIMITER`, blanks before the delimiter allowed. Variables
    /// in the delimiter do not expand.
    pub fn from_word(word: &str) -> Option<Self> {
        let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
        let (strip_tabs, delimiter) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let delimiter = delimiter.trim_start_matches(['\t', '\x0c', '\r', ' ']);
        if delimiter.contains('<') {
            return None;
        }
        let mut words = literal_words(delimiter).ok()?;
        let name = words.pop()?;
        let quotes = |text: &str| text.matches(['\'', '"']).count();
        words.is_empty().then(|| Opening {
            word: word.to_owned(),
            // An escaped quote is still in the name; only real quotes are missing from it.
            expand: quotes(&name) == quotes(delimiter),
            name,
            strip_tabs,
        })
    }

    /// Returns the openings in a line of an instruction, in order.
    pub fn all(line: &str) -> Vec<Self> {
        if !line.contains("<<") {
            return Vec::new();
        }
        raw_words(line).iter().filter_map(|word| Opening::from_word(word)).collect()
    }

    /// Reads the body from the lines below.
    ///
    /// **Errors**: [`ParseErrorKind::UnterminatedHeredoc`] at the end of the file, or a line is not
    /// text.
    pub fn read_body(self, lines: &mut Lines<'_>) -> Result<Heredoc, ParseErrorKind> {
        let Opening { word, name, expand, strip_tabs } = self;
        let mut body = String::new();
        let mut error = None;
        while let Some(line) = lines.next_line() {
            let mut text = match line.text() {
                Ok(text) => text,
                Err(found) => {
                    error.get_or_insert(found);
                    continue;
                }
            };
            if strip_tabs {
                text = text.trim_start_matches('\t');
            }
            if text.trim_end_matches(['\r', '\n']) == name {
                return match error {
                    None => Ok(Heredoc { word, name, body, expand }),
                    Some(error) => Err(error),
                };
            }
            body.push_str(text);
        }
        Err(ParseErrorKind::UnterminatedHeredoc { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_whole_words() {
        for (line, expected) in [
            ("RUN cat <<EOF", &[("EOF", true, false)][..]),
            ("RUN cat <<-'EOF' >x", &[("EOF", false, true)]),
            ("RUN cat << EOF", &[("EOF", true, false)]),
            ("RUN cat <<\t 'A B' >x", &[("A B", false, false)]),
            ("RUN cat <<E\"O\"F 3<<X", &[("EOF", false, false), ("X", true, false)]),
            (r#"RUN cat <<\"EOF"#, &[("\"EOF", true, false)]),
            ("RUN cat <<$X", &[("$X", true, false)]),
            ("RUN cat <<<EOF", &[]),
            ("RUN echo $((1<<2)) a<<b", &[]),
            ("RUN echo '<<EOF' \"<<EOF\"", &[]),
            ("RUN echo 'open <<EOF", &[]),
            ("RUN cat <<- EOF", &[]),
            ("RUN cat <<", &[]),
        ] {
            let found = Opening::all(line);
            let found: Vec<_> =
                found.iter().map(|o| (o.name.as_str(), o.expand, o.strip_tabs)).collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn a_body_ends_at_its_delimiter() {
        let read = |word: &str, text: &str| {
            let mut lines = Lines::new(text.as_bytes());
            Opening::from_word(word).expect("opens").read_body(&mut lines).map(|it| it.body)
        };
        assert_eq!(read("<<E", "a\n\tb\n E\nE\nc\n").as_deref(), Ok("a\n\tb\n E\n"));
        assert_eq!(read("<<-E", "\ta\n\t\tb\tc\n\tE").as_deref(), Ok("a\nb\tc\n"));
        assert_eq!(read("<<E", "a\r\nE\r\n").as_deref(), Ok("a\r\n"));
        assert_eq!(read("<<E", "E").as_deref(), Ok(""));
        assert!(read("<<E", "a\n").is_err());
    }
}
