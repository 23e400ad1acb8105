//! Colours, as sequences of a terminal (ECMA-48 § 8.3.117, select graphic rendition).

/// Puts colours into text, or leaves them out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Paint {
    /// Whether colours are put in.
    pub(crate) is_on: bool,
}

/// A colour, by the meaning of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    /// It went well.
    Good,
    /// It was saved work.
    Cached,
    /// It needs a look.
    Warning,
    /// It failed.
    Bad,
    /// It is of less interest.
    Dim,
    /// It is a heading.
    Bold,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Cached => "36",
            Self::Warning => "33",
            Self::Bad => "1;31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

impl Paint {
    /// Returns a text in a colour.
    pub(crate) fn text(self, colour: Colour, text: &str) -> String {
        match self.is_on && !text.is_empty() {
            true => format!("\u{1b}[{}m{text}\u{1b}[0m", colour.code()),
            false => text.to_owned(),
        }
    }

    /// Colours the words with which lines of messages begin: `error:`, `warning:`, `hint:`.
    pub(crate) fn message(self, text: &str) -> String {
        const WORDS: &[(&str, Colour)] = &[
            ("error:", Colour::Bad),
            ("cause:", Colour::Bad),
            ("warning:", Colour::Warning),
            ("hint:", Colour::Cached),
            ("note:", Colour::Cached),
        ];
        if !self.is_on {
            return text.to_owned();
        }
        let line = |line: &str| {
            let word = WORDS.iter().find(|(word, _)| line.starts_with(word));
            match word {
                Some((word, colour)) => self.text(*colour, word) + &line[word.len()..],
                None => line.to_owned(),
            }
        };
        text.split_inclusive('\n').map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_words_of_messages_are_coloured() {
        let text = "error: no error: here\n | error: x\nhint: y\n";
        assert_eq!(Paint { is_on: false }.message(text), text);
        let shown = Paint { is_on: true }.message(text);
        let expected = "\u{1b}[1;31merror:\u{1b}[0m no error: here\n | error: x\n\
            \u{1b}[36mhint:\u{1b}[0m y\n";
        assert_eq!(shown, expected);
    }
}
