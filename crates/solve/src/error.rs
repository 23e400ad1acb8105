//! Failures of solving a graph.

use xbuild_model::{Platform, StepFailure, short_label};
use xbuild_plan::Span;
use xbuild_wording::{Hint, hints, quoted};

/// A mount of a RUN is not available. No message holds the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountFailure {
    /// A required secret was not given.
    #[error("the secret {id} is required and was not given", id = quoted(.id))]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// A required agent was not given.
    #[error("the SSH agent {id} is required and was not given", id = quoted(.id))]
    NoAgent {
        /// Its name.
        id: String,
    },
    /// A secret is not text, so no variable can hold it.
    #[error("the secret {id} is not text: it cannot be the variable {variable}", id = quoted(.id))]
    BinarySecret {
        /// Its name.
        id: String,
        /// The variable that it should be.
        variable: String,
    },
}

impl MountFailure {
    /// Returns what the user can do about it.
    pub(crate) fn hint(&self) -> Hint {
        match self {
            Self::NoSecret { id } => hints::give_secret(id),
            Self::NoAgent { id } if id == "default" => hints::give_default_agent(),
            Self::NoAgent { id } => hints::give_agent(id),
            Self::BinarySecret { .. } => hints::secret_as_file(),
        }
    }
}

/// The failure of one step, with its place in the Dockerfile.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {failure}", short_label(label))]
pub struct SolveError {
    /// The step as progress shows it.
    pub label: String,
    /// The lines of the instruction.
    pub span: Span,
    /// The platform of the step.
    pub platform: Platform,
    /// The error of the stage that did the work.
    #[source]
    pub failure: StepFailure,
}
