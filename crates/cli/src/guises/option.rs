//! The options of other builders, and what becomes of each.

use super::line::Line;
use crate::commands::build::refusal;

/// An option of another builder.
pub(super) struct Known {
    /// Its long name.
    pub(super) name: &'static str,
    /// Its letter.
    pub(super) short: Option<char>,
    pub(super) takes: Takes,
    pub(super) fate: Fate,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// A value.
    Value,
    /// Nothing, or `=true` and `=false`.
    Switch,
    /// Nothing, or `=` and a value.
    Optional,
}

/// What becomes of an option.
pub(super) enum Fate {
    /// It is an option of `xbuild build` of that name.
    Same(&'static str),
    /// It is done in other words.
    Means(&'static str, fn(&mut Line, &str) -> Result<(), String>),
    /// It changes nothing: the reason.
    True(&'static str),
    /// It is so in any case, and cannot be turned off: the reason.
    On(&'static str),
    /// It is refused: the reason.
    Refused(&'static str),
}

impl Known {
    /// Returns an option with a value.
    pub(super) const fn value(name: &'static str, fate: Fate) -> Self {
        Self { name, short: None, takes: Takes::Value, fate }
    }

    /// Returns a switch.
    pub(super) const fn switch(name: &'static str, fate: Fate) -> Self {
        Self { name, short: None, takes: Takes::Switch, fate }
    }

    /// Returns the option with a letter.
    pub(super) const fn letter(self, letter: char) -> Self {
        Self { short: Some(letter), ..self }
    }

    /// Returns what becomes of the option, for people.
    pub(super) fn text(&self) -> String {
        match &self.fate {
            Fate::Same(other) => match refusal(other) {
                Some(reason) => format!("refused: {reason}"),
                None if *other == self.name => "the same".to_owned(),
                None => format!("`--{other}`"),
            },
            Fate::Means(text, _) => (*text).to_owned(),
            Fate::True(reason) => format!("accepted: {reason}"),
            Fate::On(reason) => format!("accepted, `=false` is refused: {reason}"),
            Fate::Refused(reason) => format!("refused: {reason}"),
        }
    }
}
