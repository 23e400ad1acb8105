//! The machine that runs a pattern: it follows all ways to match at once, in time linear in the
//! name.

use crate::PatternError;

/// One step of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// This character.
    Char(u32),
    /// Any character but `/`.
    Any,
    /// Any characters but `/`.
    Star,
    /// One character of a class.
    Class { negated: bool, ranges: Vec<(u32, u32)> },
    /// Nothing, or the characters that the following [`Token::DeepRest`] takes.
    Deep,
    /// Any characters up to a `/`, which is included.
    DeepRest,
    /// All remaining characters.
    Tail,
}

/// Returns the characters of a name. A byte that is not part of a character counts as a character
/// that equals only itself.
pub(super) fn characters(name: &[u8]) -> impl Iterator<Item = u32> {
    const INVALID: u32 = 0x11_0000;
    name.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().map(|&byte| INVALID + u32::from(byte));
        chunk.valid().chars().map(u32::from).chain(invalid)
    })
}

/// Parses a class after its opening bracket.
///
/// **Source** — Go `path/filepath` § Match.
pub(super) fn parse_class(
    rest: &mut std::iter::Peekable<impl Iterator<Item = u32>>,
    pattern: &[u8],
) -> Result<Token, PatternError> {
    let fail = || PatternError::syntax(pattern);
    let is = |character: Option<u32>, wanted: char| character == Some(u32::from(wanted));
    let negated = is(rest.peek().copied(), '^');
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        if is(rest.peek().copied(), ']') && !ranges.is_empty() {
            rest.next();
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_bound(rest).ok_or_else(fail)?;
        let mut high = low;
        if is(rest.peek().copied(), '-') {
            rest.next();
            high = class_bound(rest).ok_or_else(fail)?;
        }
        ranges.push((low, high));
    }
}

/// Parses one end of a range.
fn class_bound(rest: &mut impl Iterator<Item = u32>) -> Option<u32> {
    let character = rest.next()?;
    match u8::try_from(character) {
        Ok(b'-' | b']') => None,
        Ok(b'\\') => rest.next(),
        _ => Some(character),
    }
}

/// Returns whether the whole of `name` matches.
pub(super) fn matches(tokens: &[Token], name: &[u8]) -> bool {
    after(tokens, name)[tokens.len()]
}

/// Returns whether a longer name that begins with `name` may match.
pub(super) fn matches_beginning(tokens: &[Token], name: &[u8]) -> bool {
    after(tokens, name)[..tokens.len()].contains(&true)
}

/// Returns which steps the pattern may be at after `name`; the last one is its end.
fn after(tokens: &[Token], name: &[u8]) -> Vec<bool> {
    let mut now = vec![false; tokens.len() + 1];
    let mut next = now.clone();
    enter(tokens, &mut now, 0);
    for character in characters(name) {
        next.fill(false);
        for (at, token) in tokens.iter().enumerate().filter(|(at, _)| now[*at]) {
            step(tokens, token, at, character, &mut next);
        }
        std::mem::swap(&mut now, &mut next);
        if !now.contains(&true) {
            break;
        }
    }
    now
}

/// Takes one character at step `at`, and enters the possible next steps.
fn step(tokens: &[Token], token: &Token, at: usize, character: u32, next: &mut [bool]) {
    const SLASH: u32 = b'/' as u32;
    const NEWLINE: u32 = b'\n' as u32;
    match token {
        Token::Char(wanted) if *wanted == character => enter(tokens, next, at + 1),
        Token::Any if character != SLASH => enter(tokens, next, at + 1),
        Token::Star if character != SLASH => enter(tokens, next, at),
        Token::Class { negated, ranges }
            if ranges.iter().any(|&(low, high)| (low..=high).contains(&character)) != *negated =>
        {
            enter(tokens, next, at + 1);
        }
        // The reference's `.` matches no line feed.
        Token::DeepRest if character != NEWLINE => {
            enter(tokens, next, at);
            if character == SLASH {
                enter(tokens, next, at + 1);
            }
        }
        Token::Tail if character != NEWLINE => enter(tokens, next, at),
        _ => {}
    }
}

/// Enters a step, and the steps after it that are reached without a character.
fn enter(tokens: &[Token], states: &mut [bool], at: usize) {
    if std::mem::replace(&mut states[at], true) {
        return;
    }
    match tokens.get(at) {
        Some(Token::Star | Token::Tail) => enter(tokens, states, at + 1),
        Some(Token::Deep) => {
            enter(tokens, states, at + 1);
            enter(tokens, states, at + 2);
        }
        _ => {}
    }
}
