//! The variables that an instruction sees.

use std::collections::{HashMap, HashSet};

use xbuild_dockerfile::expand::{Expansion, expand_heredoc, expand_word, expand_words};
use xbuild_dockerfile::{ExpandError, Span, suggest};

use crate::error::{PlanError, PlanErrorKind};

/// The most bytes of names and values that the variables of a stage may hold. Each RUN gets all of
/// them, and one line of `ENV` can double a value; Linux gives a process at most 6 MiB.
const MAX_SIZE: usize = 6 << 20;

/// An unset name is compared with at most this many names. A file may have a hundred thousand of
/// both, which would take long; files that people write have a few dozen.
const MAX_COMPARED: usize = 100;

/// Returns the variable that the user probably meant by `name`.
pub(crate) fn similar<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    suggest(name, known.into_iter().take(MAX_COMPARED))
}

/// Names and values, in the order in which the names were first set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Variables {
    list: Vec<(String, String)>,
    places: HashMap<String, usize>,
    size: usize,
}

impl Variables {
    /// Sets a variable. A name keeps the place where it was first set.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(&place) = self.places.get(name) {
            let old = std::mem::replace(&mut self.list[place].1, value.to_owned());
            self.size = self.size - old.len() + value.len();
        } else {
            self.places.insert(name.to_owned(), self.list.len());
            self.list.push((name.to_owned(), value.to_owned()));
            self.size += name.len() + value.len();
        }
    }

    /// Sets a variable of a stage.
    ///
    /// **Errors**: `EnvironmentSize`.
    pub(crate) fn set_checked(
        &mut self,
        name: &str,
        value: &str,
        span: &Span,
    ) -> Result<(), PlanError> {
        self.set(name, value);
        if self.size > MAX_SIZE {
            let kind = PlanErrorKind::EnvironmentSize { limit: MAX_SIZE };
            return Err(PlanError::new(kind, span));
        }
        Ok(())
    }

    /// Returns the value of a variable.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.places.get(name).map(|&place| self.list[place].1.as_str())
    }

    /// Returns names and values in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (String, String)> {
        self.list.iter()
    }
}

/// Names, each once, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSet {
    list: Vec<String>,
    known: HashSet<String>,
}

impl NameSet {
    pub(crate) fn add(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.list.push(name.to_owned());
        }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.known.contains(name)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, String> {
        self.list.iter()
    }
}

/// Replaces variables in the text of one instruction. All of the text sees the values before the
/// instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expander<'a> {
    pub(crate) variables: &'a Variables,
    pub(crate) escape: char,
    pub(crate) span: &'a Span,
}

impl Expander<'_> {
    /// Returns `text` as one value.
    pub(crate) fn word(&self, text: &str) -> Result<String, PlanError> {
        Ok(self.expansion(text)?.text)
    }

    /// Returns `text` as one value, with the names that are unset.
    pub(crate) fn expansion(&self, text: &str) -> Result<Expansion, PlanError> {
        expand_word(text, self.escape, &|name| self.look_up(name)).map_err(|e| self.error(e))
    }

    /// Returns the value of an option, if there is one.
    pub(crate) fn option(&self, text: Option<&str>) -> Result<Option<String>, PlanError> {
        text.map(|text| self.word(text)).transpose()
    }

    /// Returns the words that `text` splits into.
    pub(crate) fn words(&self, text: &str) -> Result<Vec<String>, PlanError> {
        let words = expand_words(text, self.escape, &|name| self.look_up(name));
        Ok(words.map_err(|e| self.error(e))?.words)
    }

    /// Returns the body of a heredoc.
    pub(crate) fn heredoc(&self, body: &str) -> Result<String, PlanError> {
        let body = expand_heredoc(body, &|name| self.look_up(name));
        Ok(body.map_err(|e| self.error(e))?.text)
    }

    fn look_up(&self, name: &str) -> Option<String> {
        self.variables.get(name).map(str::to_owned)
    }

    fn error(&self, source: ExpandError) -> PlanError {
        PlanError::new(source, self.span)
    }
}
