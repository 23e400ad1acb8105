//! [`Fault`]: the questions that every error of a build answers.

use std::error::Error;
use std::fmt;

use xbuild_model::{FailureKind, StepFailure};
use xbuild_plan::Span;
use xbuild_wording::Hint;

/// Whose business an error is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is wrong: the business of whoever typed the command.
    Request,
    /// A stage of the pipeline failed.
    Stage(FailureKind),
}

/// An error that knows more than its message and its causes.
pub trait Fault: Error + 'static {
    /// Returns whose business the error is.
    fn kind(&self) -> ErrorKind;

    /// Returns its place in the Dockerfile.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// Returns advice for the user.
    fn hint(&self) -> Option<Hint> {
        None
    }

    /// Returns the label of the step that failed, as progress shows it.
    fn step(&self) -> Option<&str> {
        None
    }

    /// Returns the exit code of the command that failed, if one did.
    fn exit_code(&self) -> Option<i32> {
        None
    }

    /// Returns the errors that were found together: by default only this one.
    fn each(&self) -> Vec<&dyn Fault>
    where
        Self: Sized,
    {
        vec![self]
    }
}

impl Fault for StepFailure {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(StepFailure::kind(self))
    }

    fn hint(&self) -> Option<Hint> {
        StepFailure::hint(self).cloned()
    }
}

/// An error of a stage with the activity that it interrupted. It displays as `ACTION: ERROR` and
/// has the causes of the stage's error.
#[derive(Debug)]
pub struct During<E> {
    /// The activity, such as `exporting`.
    pub action: String,
    /// The error of the stage.
    pub error: Box<E>,
}

impl<E> During<E> {
    /// Returns a function that adds the activity to an error.
    pub(crate) fn new(action: &str) -> impl Fn(E) -> Self {
        let action = action.to_owned();
        move |error| Self { action: action.clone(), error: Box::new(error) }
    }
}

impl<E: fmt::Display> fmt::Display for During<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.error)
    }
}

impl<E: Error> Error for During<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
