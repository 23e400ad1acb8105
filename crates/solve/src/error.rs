//! Why a graph could not be solved.

use xbuild_model::{Platform, StepFailure};
use xbuild_plan::Span;

/// Something that a RUN mounts cannot be had. Values of secrets are in no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MountFailure {
    /// A required secret was not given.
    #[error("the secret {id:?} is required and was not given")]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// A required agent was not given.
    #[error("the SSH agent {id:?} is required and was not given")]
    NoAgent {
        /// Its name.
        id: String,
    },
    /// A secret is no text, so that no variable can hold it.
    #[error("the secret {id:?} is not text: it cannot be the variable {variable}")]
    BinarySecret {
        /// Its name.
        id: String,
        /// The variable that it should be.
        variable: String,
    },
}

impl MountFailure {
    /// Returns what the user can do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoSecret { id } => {
                format!("give it with --secret id={id},src=FILE or --secret id={id},env=VARIABLE")
            }
            Self::NoAgent { id } if id == "default" => {
                "give it with --ssh default, which takes that of SSH_AUTH_SOCK".to_owned()
            }
            Self::NoAgent { id } => format!("give it with --ssh {id}=SOCKET or --ssh {id}=KEY"),
            Self::BinarySecret { .. } => "mount it as a file, with target=".to_owned(),
        }
    }
}

/// The failure of one step, with the place in the Dockerfile that it was born of.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{label}: {failure}")]
pub struct SolveError {
    /// The step as progress shows it.
    pub label: String,
    /// Where it was written.
    pub span: Span,
    /// The platform that it was for.
    pub platform: Platform,
    /// What the stage returned.
    #[source]
    pub failure: StepFailure,
}
