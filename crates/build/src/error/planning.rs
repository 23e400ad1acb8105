//! Errors of a plan: of the Dockerfile, its base images and its options.

use std::error::Error;
use std::fmt;

use xbuild_dockerfile::{ParseError, ParseErrors};
use xbuild_model::FailureKind;
use xbuild_plan::{PlanError, PlanErrors, Span};
use xbuild_wording::{Hint, hints};

use super::{ContextError, ErrorKind, Fault, ImageError, RequestError};

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanningError {
    /// The Dockerfile has errors of syntax.
    #[error(transparent)]
    Parse(#[from] ParseErrors),
    /// The Dockerfile has other errors.
    #[error(transparent)]
    Plan(#[from] PlanErrors),
    /// A base image cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The Dockerfile breaks rules and makes that an error.
    #[error("lint violation found for rules: {rules}")]
    Lint {
        /// The rules, joined by commas.
        rules: String,
    },
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The ignore file is wrong.
    #[error(transparent)]
    Context(#[from] ContextError),
}

impl Fault for PlanningError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Base(error) => error.kind(),
            Self::Request(error) => error.kind(),
            Self::Context(error) => error.kind(),
            Self::Parse(_) | Self::Plan(_) | Self::Lint { .. } => {
                ErrorKind::Stage(FailureKind::User)
            }
        }
    }

    fn span(&self) -> Option<&Span> {
        match self {
            Self::Base(error) => error.span(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Base(error) => error.hint(),
            Self::Request(error) => error.hint(),
            Self::Context(error) => error.hint(),
            Self::Lint { .. } => Some(hints::check_says_error()),
            Self::Parse(_) | Self::Plan(_) => None,
        }
    }

    fn each(&self) -> Vec<&dyn Fault> {
        match self {
            Self::Parse(errors) => errors.iter().map(|error| error as &dyn Fault).collect(),
            Self::Plan(errors) => errors.iter().map(|error| error as &dyn Fault).collect(),
            other => vec![other],
        }
    }
}

impl Fault for ParseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(FailureKind::User)
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }

    fn hint(&self) -> Option<Hint> {
        self.hint()
    }
}

impl Fault for PlanError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(FailureKind::User)
    }

    fn span(&self) -> Option<&Span> {
        self.span.as_ref()
    }

    fn hint(&self) -> Option<Hint> {
        self.hint()
    }
}

/// A base image that cannot be read, and the instruction that asks for it.
#[derive(Debug)]
pub struct BaseError {
    /// The reason.
    pub error: Box<ImageError>,
    /// Where the image is asked for.
    pub span: Span,
    /// The stage whose name resembles that of the image.
    pub stage: Option<String>,
}

impl fmt::Display for BaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for BaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}

impl Fault for BaseError {
    fn kind(&self) -> ErrorKind {
        self.error.kind()
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }

    fn hint(&self) -> Option<Hint> {
        let stage = self.stage.as_ref().map(hints::did_you_mean_stage);
        stage.or_else(|| self.error.hint())
    }
}
