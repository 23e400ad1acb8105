//! The error that crosses a seam: the error of a stage, and who can do something about it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Who can do something about a failure. The kind decides the exit code and the tone of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The Dockerfile, the command line or the context is wrong.
    User,
    /// The command of a RUN ended with a non-zero status or a signal.
    Step,
    /// This machine cannot do what the build needs.
    Environment,
    /// A registry refused, or could not be reached.
    Remote,
    /// A defect of xbuild, or a full or broken disk.
    Internal,
}

/// A failure of one step, with its cause erased: `solve` knows none of the stages' error types.
///
/// Displays as its cause. The cause's own `source` chain is kept.
#[derive(Clone)]
pub struct StepFailure {
    kind: FailureKind,
    cause: Arc<dyn Error + Send + Sync>,
    hint: Option<Arc<str>>,
}

impl StepFailure {
    /// Wraps the error of a stage.
    pub fn new(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Arc::new(cause), hint: None }
    }

    /// Adds advice for the user.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Arc<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns advice for the user, if there is any.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the error of the stage.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.kind, self.cause)
    }
}

impl Error for StepFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}
