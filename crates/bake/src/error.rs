//! What can be wrong with a definition, and with what is asked of it.

use std::fmt;

use xbuild_wording::quoted;

use crate::place::Place;
use crate::similar::suggestion;

/// Bake files cannot be read, or do not have what is asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BakeError {
    /// The text of a file does not follow its format.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// The finding of the parser.
        message: String,
    },
    /// A part of a definition has no meaning.
    #[error("{place}: {reason}")]
    Invalid {
        /// Where.
        place: Place,
        /// Why.
        reason: Reason,
    },
    /// The value of a variable, from outside of the files, does not suit its type.
    #[error("{place}: variable {name}, from {origin}: {reason}")]
    Variable {
        /// Where it is defined.
        place: Place,
        /// The variable.
        name: String,
        /// Where its value comes from.
        origin: String,
        /// Why.
        reason: String,
    },
    /// A condition that the file has for a variable is not met.
    #[error("{place}: variable {name}: {message}")]
    Validation {
        /// The condition.
        place: Place,
        /// The variable.
        name: String,
        /// The message that the file has for this.
        message: String,
    },
    /// There is no such target or group.
    #[error("no target and no group named {name}{}", suggestion(.similar.as_deref()))]
    NoTarget {
        /// The name.
        name: String,
        /// A target or group with a name like it.
        similar: Option<String>,
    },
    /// No target matches a pattern.
    #[error("no target matches {pattern}", pattern = quoted(.pattern))]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// An option of the command line that changes targets makes no sense.
    #[error("invalid --{option} {text}: {reason}", text = quoted(.text))]
    Override {
        /// The option.
        option: &'static str,
        /// Its value.
        text: String,
        /// Why.
        reason: String,
    },
    /// The attributes of a target contradict each other.
    #[error("target {target}: {reason}")]
    Target {
        /// The target.
        target: String,
        /// Why.
        reason: String,
    },
    /// None of the files has a definition.
    #[error("no bake file: none of {} is here", .names.join(", "))]
    NoFiles {
        /// The names that were looked for.
        names: Vec<String>,
    },
    /// A file cannot be read.
    #[error("{name}: {reason}")]
    File {
        /// The file.
        name: String,
        /// Why.
        reason: String,
    },
}

/// Why a part of a definition has no meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(pub(crate) String);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BakeError {
    /// Returns an error of a place in a file.
    pub(crate) fn invalid(place: &Place, reason: impl Into<String>) -> Self {
        Self::Invalid { place: place.clone(), reason: Reason(reason.into()) }
    }
}
