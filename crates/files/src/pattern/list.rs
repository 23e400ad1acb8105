//! Ordered patterns, where the last match decides.

use super::automaton::{Token, characters, matches, matches_beginning, parse_class};
use super::clean::clean;
use super::glob::Glob;
use crate::PatternError;

/// Patterns in order. Each adds its matches, or removes them if it begins with `!`.
#[derive(Debug, Clone, Default)]
pub(crate) struct PatternList {
    patterns: Vec<Pattern>,
    has_exceptions: bool,
}

#[derive(Debug, Clone)]
struct Pattern {
    negated: bool,
    form: Form,
}

/// The forms of moby/patternmatcher. Three of them compare bytes, which accepts more than the
/// general form would if `**` is at an end.
#[derive(Debug, Clone)]
enum Form {
    Exact(Vec<u8>),
    Prefix(Vec<u8>),
    Suffix(Vec<u8>),
    Tokens(Vec<Token>),
}

/// The patterns that matched a folder. Files in it are decided by them without matching again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Matched(Vec<bool>);

impl PatternList {
    /// Parses patterns, in their order. Blank ones are ignored.
    pub(crate) fn new<P: AsRef<[u8]>>(
        patterns: impl IntoIterator<Item = P>,
    ) -> Result<Self, PatternError> {
        let mut list = Self::default();
        for text in patterns {
            let text = trim(text.as_ref());
            if text.is_empty() {
                continue;
            }
            let cleaned = clean(text);
            let negated = cleaned.first() == Some(&b'!');
            let pattern = if negated { &cleaned[1..] } else { &cleaned[..] };
            if pattern.is_empty() {
                return Err(PatternError::LoneNegation);
            }
            list.has_exceptions |= negated;
            list.patterns.push(Pattern { negated, form: Form::parse(pattern)? });
        }
        Ok(list)
    }

    /// Returns whether a pattern begins with `!`.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.has_exceptions
    }

    /// Returns whether `path` matches, given the matches of its folder. The default is right for
    /// files in the root.
    pub(crate) fn matches(&self, path: &[u8], folder: &Matched) -> (bool, Matched) {
        let mut verdict = false;
        let mut matched = vec![false; self.patterns.len()];
        for (at, pattern) in self.patterns.iter().enumerate() {
            let hit = folder.0.get(at).copied().unwrap_or(false)
                // A pattern that would not change the verdict is skipped, and then counts as no
                // match for files below as well.
                || (pattern.negated == verdict && pattern.form.matches(path));
            matched[at] = hit;
            if hit {
                verdict = !pattern.negated;
            }
        }
        (verdict, Matched(matched))
    }

    /// Returns whether `path` matches; its folders are matched first.
    pub(crate) fn matches_path(&self, path: &[u8]) -> (bool, Matched) {
        let mut result = (false, Matched::default());
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        for end in ends.chain([path.len()]) {
            result = self.matches(&path[..end], &result.1);
        }
        result
    }

    /// Returns whether a pattern, with `!` if `negated`, may match something below `folder`: whether
    /// the folder can be the beginning of a match. In doubt the answer is yes.
    pub(crate) fn may_match_below(&self, folder: &[u8], negated: bool) -> bool {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let patterns = self.patterns.iter().filter(|pattern| pattern.negated == negated);
        patterns.into_iter().any(|pattern| pattern.form.may_begin_with(&prefix))
    }
}

impl Form {
    fn parse(pattern: &[u8]) -> Result<Self, PatternError> {
        // The reference checks the syntax with the simpler matcher.
        Glob::new(pattern)?;
        let (tokens, shape) = tokenize(pattern)?;
        Ok(match shape {
            Shape::Exact => Self::Exact(pattern.to_vec()),
            Shape::Prefix => Self::Prefix(pattern[..pattern.len() - 2].to_vec()),
            Shape::Suffix => Self::Suffix(pattern[2..].to_vec()),
            Shape::General => Self::Tokens(tokens),
        })
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Suffix(suffix) => {
                path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path)
            }
            Self::Tokens(tokens) => matches(tokens, path),
        }
    }

    /// Returns whether a path that matches may begin with `prefix` and go on.
    fn may_begin_with(&self, prefix: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => exact.starts_with(prefix),
            Self::Prefix(start) => start.starts_with(prefix) || prefix.starts_with(start),
            Self::Suffix(_) => true,
            Self::Tokens(tokens) => matches_beginning(tokens, prefix),
        }
    }
}

/// The [`Form`] that a pattern takes, as far as it was read.
enum Shape {
    Exact,
    Prefix,
    Suffix,
    General,
}

/// Returns the tokens of a pattern, and its form.
fn tokenize(pattern: &[u8]) -> Result<(Vec<Token>, Shape), PatternError> {
    let mut rest = characters(pattern).peekable();
    let mut tokens = Vec::new();
    let mut shape = Shape::Exact;
    while let Some(character) = rest.next() {
        let token = match u8::try_from(character) {
            Ok(b'*') if rest.next_if_eq(&u32::from('*')).is_some() => {
                rest.next_if_eq(&u32::from('/'));
                let is_last = rest.peek().is_none();
                shape = match shape {
                    _ if tokens.is_empty() => Shape::Suffix,
                    Shape::Exact if is_last => Shape::Prefix,
                    _ => Shape::General,
                };
                match is_last {
                    true => tokens.push(Token::Tail),
                    false => tokens.extend([Token::Deep, Token::DeepRest]),
                }
                continue;
            }
            Ok(b'*') => Token::Star,
            Ok(b'?') => Token::Any,
            Ok(b'[') => parse_class(&mut rest, pattern)?,
            Ok(b'\\') => Token::Char(rest.next().ok_or_else(|| PatternError::syntax(pattern))?),
            Ok(b']') => Token::Char(character),
            _ => {
                tokens.push(Token::Char(character));
                continue;
            }
        };
        tokens.push(token);
        shape = Shape::General;
    }
    Ok((tokens, shape))
}

/// Returns `text` without surrounding white space.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    match std::str::from_utf8(text) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => text.trim_ascii(),
    }
}
