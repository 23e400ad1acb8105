//! Why a graph could not be solved.

use xbuild_model::{Platform, StepFailure};
use xbuild_plan::Span;

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
