//! The parts that all errors have.

use std::error::Error;
use std::fmt;

use xbuild_model::{FailureKind, StepFailure};
use xbuild_plan::Span;

/// Whose business an error is; decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request contradicts itself, or asks for something that does not exist.
    Request,
    /// A stage of the pipeline failed.
    Stage(FailureKind),
}

/// An error with what its reader needs to know besides the message and the causes.
pub trait Fault: Error + 'static {
    /// Returns whose business it is.
    fn kind(&self) -> ErrorKind;

    /// Returns the place in the Dockerfile that it is about.
    fn span(&self) -> Option<&Span> {
        None
    }

    /// Returns what the user can do about it.
    fn hint(&self) -> Option<String> {
        None
    }

    /// Returns the label of the step that failed, as progress shows it.
    fn step(&self) -> Option<&str> {
        None
    }

    /// Returns the errors that were found together; an error that stands for itself is the only
    /// one.
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

    fn hint(&self) -> Option<String> {
        StepFailure::hint(self).map(str::to_owned)
    }
}

/// An error of a stage with what was going on. It displays as `ACTION: ERROR` and has the causes of
/// the stage's error.
#[derive(Debug)]
pub struct During<E> {
    /// What was going on.
    pub action: String,
    /// The error of the stage.
    pub error: Box<E>,
}

impl<E> During<E> {
    /// Returns a function that adds what was going on.
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
