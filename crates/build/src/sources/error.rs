//! Sources that a build may not use.

use xbuild_model::{FailureKind, StepFailure};
use xbuild_wording::{Hint, hints};

/// Why a source may not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A policy denies it.
    #[error("the source policy {file} denies {source_name}")]
    Denied {
        /// The file of the policy.
        file: String,
        /// The source, as policies name it.
        source_name: String,
    },
    /// A policy converts it again and again.
    #[error("the source policies convert {source_name} again and again")]
    Endless {
        /// The source, as policies name it.
        source_name: String,
    },
    /// A policy converts it to something that it cannot be.
    #[error("the source policy {file} converts {source_name} to {to}: {reason}")]
    Converted {
        /// The file of the policy.
        file: String,
        /// The source, as policies name it.
        source_name: String,
        /// The result.
        to: String,
        /// The reason.
        reason: &'static str,
    },
    /// The lock file does not have it.
    #[error("{source_name} is not in the lock file")]
    NotLocked {
        /// The source, as the lock file would name it.
        source_name: String,
    },
}

impl SourceError {
    /// Returns what can be done.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::NotLocked { .. } => Some(hints::lock_adds()),
            _ => None,
        }
    }
}

impl From<SourceError> for StepFailure {
    fn from(error: SourceError) -> Self {
        let hint = error.hint();
        let failure = Self::new(FailureKind::User, error);
        hint.into_iter().fold(failure, StepFailure::with_hint)
    }
}
