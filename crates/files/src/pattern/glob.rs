//! The pattern of one part of a path.

use super::automaton::{Token, characters, matches, parse_class};
use crate::PatternError;

/// A pattern with the syntax of Go's `filepath.Match`, for one part of a path.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    tokens: Vec<Token>,
}

impl Glob {
    /// Parses a pattern.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, PatternError> {
        let mut rest = characters(pattern).peekable();
        let mut tokens = Vec::new();
        while let Some(character) = rest.next() {
            tokens.push(match u8::try_from(character) {
                Ok(b'*') => Token::Star,
                Ok(b'?') => Token::Any,
                Ok(b'[') => parse_class(&mut rest, pattern)?,
                Ok(b'\\') => Token::Char(rest.next().ok_or_else(|| PatternError::syntax(pattern))?),
                _ => Token::Char(character),
            });
        }
        // Here two stars match the same as one, which is cheaper.
        tokens.dedup_by(|a, b| *a == Token::Star && *b == Token::Star);
        Ok(Self { tokens })
    }

    /// Returns whether the whole of `name` matches.
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        matches(&self.tokens, name)
    }

    /// Returns whether a text has a special character. A character after a backslash does not
    /// count.
    pub(crate) fn is_pattern(text: &[u8]) -> bool {
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            match byte {
                b'*' | b'?' | b'[' => return true,
                b'\\' => {
                    bytes.next();
                }
                _ => {}
            }
        }
        false
    }
}
