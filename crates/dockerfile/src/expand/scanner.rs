//! The scanner behind all ways of reading text.

use std::collections::HashSet;
use std::iter::Peekable;
use std::str::Chars;

use super::pattern::Pattern;
use crate::error::ExpandError;

/// The value of a variable, or `None` if it is unset.
pub type Variables<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The greatest depth of `${a:-${b:-...}}`. The scanner recurses, so this bounds its stack; people
/// nest three or four deep.
pub const MAX_DEPTH: usize = 100;

/// The most bytes by which an expansion may be longer than its text. Without a bound, thirty lines
/// of `ENV a=$a$a` fill the memory; no argument or variable of a process may have 1 MiB.
pub const MAX_GROWTH: usize = 16 << 20;

/// The way in which text is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// The escape character.
    pub escape: char,
    /// Quotes shield, and stay in the result.
    pub keep_quotes: bool,
    /// Escapes shield, and stay in the result.
    pub keep_escapes: bool,
    /// Quotes are ordinary characters.
    pub quotes_are_text: bool,
    /// Names of unset variables stay as they are.
    pub keep_unset: bool,
}

impl Default for Mode {
    fn default() -> Self {
        Mode {
            escape: '\\',
            keep_quotes: false,
            keep_escapes: false,
            quotes_are_text: false,
            keep_unset: false,
        }
    }
}

/// Reads one text.
pub(super) struct Scanner<'a> {
    rest: Peekable<Chars<'a>>,
    mode: Mode,
    vars: &'a Variables<'a>,
    depth: usize,
    /// The bytes that substitutions have made so far; at most [`Self::limit`].
    made: usize,
    limit: usize,
    seen_unset: HashSet<String>,
    pub unset: Vec<String>,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, mode: Mode, vars: &'a Variables<'a>) -> Self {
        Scanner {
            rest: text.chars().peekable(),
            mode,
            vars,
            depth: 0,
            made: 0,
            limit: text.len().saturating_add(MAX_GROWTH),
            seen_unset: HashSet::new(),
            unset: Vec::new(),
        }
    }

    /// Reads up to and including `stop`, or to the end if it is `None`.
    pub fn read(
        &mut self,
        stop: Option<char>,
        keep_escapes: bool,
        splitter: &mut Splitter,
    ) -> Result<String, ExpandError> {
        let outer = std::mem::replace(&mut self.mode.keep_escapes, keep_escapes);
        let text = self.read_until(stop, splitter);
        self.mode.keep_escapes = outer;
        text
    }

    fn read_until(
        &mut self,
        stop: Option<char>,
        splitter: &mut Splitter,
    ) -> Result<String, ExpandError> {
        let mut text = String::new();
        while let Some(&next) = self.rest.peek() {
            if stop == Some(next) {
                self.rest.next();
                return Ok(text);
            }
            match next {
                '$' => {
                    let value = self.dollar()?;
                    splitter.add(&value);
                    text.push_str(&value);
                }
                '\'' | '"' if !self.mode.quotes_are_text => {
                    let from = text.len();
                    if next == '"' {
                        self.double_quoted(&mut text)?;
                    } else {
                        self.single_quoted(&mut text)?;
                    }
                    splitter.add_shielded(&text[from..]);
                }
                '<' => {
                    let from = text.len();
                    self.less_than(&mut text);
                    splitter.add_shielded(&text[from..]);
                }
                _ if next == self.mode.escape => {
                    let from = text.len();
                    self.rest.next();
                    if self.mode.keep_escapes {
                        text.push(next);
                    }
                    text.extend(self.rest.next());
                    splitter.add_shielded(&text[from..]);
                }
                _ => {
                    self.rest.next();
                    splitter.add_char(next);
                    text.push(next);
                }
            }
        }
        match stop {
            None => Ok(text),
            Some(missing) => Err(ExpandError::OpenBrace { missing }),
        }
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), ExpandError> {
        self.quote(text);
        loop {
            match self.rest.peek() {
                None => return Err(ExpandError::OpenQuote { quote: "single" }),
                Some('\'') => {
                    self.quote(text);
                    return Ok(());
                }
                Some(_) => text.extend(self.rest.next()),
            }
        }
    }

    /// Only the escape character, `"` and `$` can be escaped here; before other characters the
    /// escape character is text.
    fn double_quoted(&mut self, text: &mut String) -> Result<(), ExpandError> {
        self.quote(text);
        loop {
            match self.rest.peek().copied() {
                None => return Err(ExpandError::OpenQuote { quote: "double" }),
                Some('"') => {
                    self.quote(text);
                    return Ok(());
                }
                Some('$') => {
                    let value = self.dollar()?;
                    text.push_str(&value);
                }
                Some(next) if next == self.mode.escape => {
                    self.rest.next();
                    let escapable =
                        self.rest.next_if(|&after| after == '"' || after == '$' || after == next);
                    if self.mode.keep_escapes {
                        text.push(next);
                    }
                    // In patterns, where escapes stay, one that escapes nothing stands for itself.
                    text.push(escapable.unwrap_or(next));
                }
                Some(_) => text.extend(self.rest.next()),
            }
        }
    }

    fn quote(&mut self, text: &mut String) {
        let quote = self.rest.next();
        if self.mode.keep_quotes {
            text.extend(quote);
        }
    }

    /// Keeps `<<`, the blanks after it and the next word together, so that `<< EOF` is one word.
    fn less_than(&mut self, text: &mut String) {
        text.extend(self.rest.next());
        if let Some(second) = self.rest.next_if_eq(&'<') {
            text.push(second);
            while let Some(blank) = self.rest.next_if(|c| matches!(c, ' ' | '\t' | '\r')) {
                text.push(blank);
            }
        }
    }

    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.rest.next();
        if self.depth == MAX_DEPTH {
            return Err(ExpandError::TooDeep { limit: MAX_DEPTH });
        }
        self.depth += 1;
        let value = if self.rest.next_if_eq(&'{').is_some() {
            self.braced()?
        } else {
            let name = self.name();
            match self.look_up(&name) {
                _ if name.is_empty() => "$".to_owned(),
                None if self.mode.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            }
        };
        self.depth -= 1;
        self.made = self.made.saturating_add(value.len());
        if self.made > self.limit {
            return Err(ExpandError::TooLong { limit: self.limit });
        }
        Ok(value)
    }

    /// Reads the rest of `${`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        let Some(operator) = self.rest.next() else {
            return Err(ExpandError::OpenBrace { missing: '}' });
        };
        // Before other operators a missing name is that of an unset variable, as in BuildKit.
        if name.is_empty() && matches!(operator, '{' | '}' | ':') {
            return Err(ExpandError::BadSubstitution);
        }
        match operator {
            '}' => Ok(match self.look_up(&name) {
                None if self.mode.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            '-' | '+' | '?' => self.conditional(&name, operator, false),
            ':' => match self.rest.next() {
                Some(operator @ ('-' | '+' | '?')) => self.conditional(&name, operator, true),
                Some(other) => {
                    Err(ExpandError::UnsupportedModifier { modifier: format!(":{other}") })
                }
                None => Err(ExpandError::OpenBrace { missing: '}' }),
            },
            '#' | '%' => self.trimmed(&name, operator),
            '/' => self.replaced(&name),
            other => Err(ExpandError::UnsupportedModifier { modifier: other.to_string() }),
        }
    }

    fn conditional(
        &mut self,
        name: &str,
        operator: char,
        empty_is_unset: bool,
    ) -> Result<String, ExpandError> {
        let word = self.read(Some('}'), false, &mut Splitter::off())?;
        let value = self.look_up(name);
        let colon = if empty_is_unset { ":" } else { "" };
        let is_set = match &value {
            None if self.mode.keep_unset => {
                return Ok(format!("${{{name}{colon}{operator}{word}}}"));
            }
            None => false,
            Some(value) => !(empty_is_unset && value.is_empty()),
        };
        match (operator, is_set) {
            ('+', true) | ('-', false) => Ok(word),
            ('+', false) => Ok(String::new()),
            ('?', false) => {
                let message = match value {
                    _ if !word.is_empty() => word,
                    None => "is not allowed to be unset".to_owned(),
                    Some(_) => "is not allowed to be empty".to_owned(),
                };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
            _ => Ok(value.unwrap_or_default()),
        }
    }

    fn trimmed(&mut self, name: &str, operator: char) -> Result<String, ExpandError> {
        let word = self.read(Some('}'), true, &mut Splitter::off())?;
        let value = match self.look_up(name) {
            None if self.mode.keep_unset => return Ok(format!("${{{name}{operator}{word}}}")),
            value => value.unwrap_or_default(),
        };
        let (longest, glob) = match word.strip_prefix(operator) {
            Some(glob) => (true, glob),
            None => (false, word.as_str()),
        };
        let pattern = Pattern::parse(glob)?;
        Ok(if operator == '#' {
            pattern.without_prefix(&value, longest)
        } else {
            pattern.without_suffix(&value, longest)
        })
    }

    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.rest.next_if_eq(&'/').is_some();
        let glob = self.read(Some('/'), true, &mut Splitter::off())?;
        let with = self.read(Some('}'), true, &mut Splitter::off())?;
        let value = match self.look_up(name) {
            None if self.mode.keep_unset => {
                let slashes = if all { "//" } else { "/" };
                return Ok(format!("${{{name}{slashes}{glob}/{with}}}"));
            }
            value => value.unwrap_or_default(),
        };
        Pattern::parse(&glob)?.replace(&value, &with, all, self.limit)
    }

    /// Reads a name: letters, digits and `_`; or digits; or one special parameter.
    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.rest.peek() {
            Some('0'..='9') => {
                while let Some(digit) = self.rest.next_if(char::is_ascii_digit) {
                    name.push(digit);
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => name.extend(self.rest.next()),
            _ => {
                while let Some(next) = self.rest.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    name.push(next);
                }
            }
        }
        name
    }

    fn look_up(&mut self, name: &str) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        let value = (self.vars)(name);
        if value.is_none() && self.seen_unset.insert(name.to_owned()) {
            self.unset.push(name.to_owned());
        }
        value
    }
}

/// Collects words, or nothing if it is off.
pub(super) struct Splitter {
    on: bool,
    words: Vec<String>,
    current: String,
}

impl Splitter {
    pub fn on() -> Self {
        Splitter { on: true, words: Vec::new(), current: String::new() }
    }

    pub fn off() -> Self {
        Splitter { on: false, words: Vec::new(), current: String::new() }
    }

    /// Adds text in which blanks split.
    fn add(&mut self, text: &str) {
        text.chars().for_each(|c| self.add_char(c));
    }

    fn add_char(&mut self, c: char) {
        if !self.on {
        } else if c.is_whitespace() {
            self.end_word();
        } else {
            self.current.push(c);
        }
    }

    /// Adds text in which blanks do not split.
    fn add_shielded(&mut self, text: &str) {
        if self.on {
            self.current.push_str(text);
        }
    }

    fn end_word(&mut self) {
        if !self.current.is_empty() {
            self.words.push(std::mem::take(&mut self.current));
        }
    }

    pub fn finish(mut self) -> Vec<String> {
        self.end_word();
        self.words
    }
}
