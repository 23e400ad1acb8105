//! Steps that cannot run, or fail.

use std::error::Error;
use std::fmt;

use xbuild_dockerfile::suggest;
use xbuild_exec::EmulationError;
use xbuild_exec::probe::Gap;
use xbuild_files::{CopyError, Instead};
use xbuild_model::run::Exit;
use xbuild_model::{FailureKind, StepFailure, short_label};
use xbuild_plan::Span;
use xbuild_solve::SolveError;
use xbuild_wording::{Hint, hints};

use super::{ContextError, ErrorKind, Fault};

/// Why the steps of a plan cannot run on this machine. No step has run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// The machine allows no isolation for RUN steps.
    #[error(transparent)]
    NoRung(StepFailure),
    /// The machine lacks something that some platforms need.
    #[error("{}", each(.0))]
    Lacks(Vec<Lack>),
    /// The request forbids RUN steps, and the plan has one.
    #[error("{}: --isolation none does not run commands", short_label(label))]
    NoIsolation {
        /// The first RUN step.
        label: String,
        /// Where it was written.
        span: Span,
    },
    /// The steps could not be looked up in the cache.
    #[error(transparent)]
    Run(#[from] RunError),
}

fn each(lacks: &[Lack]) -> String {
    lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Fault for PreflightError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Lacks(_) | Self::NoIsolation { .. } => ErrorKind::Stage(FailureKind::Environment),
            Self::NoRung(failure) => Fault::kind(failure),
            Self::Run(error) => error.kind(),
        }
    }

    fn span(&self) -> Option<&Span> {
        match self {
            Self::NoIsolation { span, .. } => Some(span),
            Self::Run(error) => error.span(),
            Self::NoRung(_) | Self::Lacks(_) => None,
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoRung(failure) => Fault::hint(failure).map(hints::doctor_shows_all),
            Self::Run(error) => error.hint(),
            Self::NoIsolation { .. } | Self::Lacks(_) => None,
        }
    }

    fn each(&self) -> Vec<&dyn Fault> {
        match self {
            Self::Lacks(lacks) => lacks.iter().map(|lack| lack as &dyn Fault).collect(),
            other => vec![other],
        }
    }
}

/// Something that RUN steps need and that this machine lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{need}: {}", gap.why)]
pub struct Lack {
    /// The need, such as `cannot run linux/arm64 programs`.
    pub need: String,
    /// The missing feature, and the remedy.
    pub gap: Gap,
}

impl Fault for Lack {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(FailureKind::Environment)
    }

    fn hint(&self) -> Option<Hint> {
        Some(self.gap.how_to_get.clone())
    }
}

/// Why a step of a plan failed. The results of the steps before it are in the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A step failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A context that a step copies from cannot be used.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// An emulator cannot be loaded.
    #[error(transparent)]
    Emulator(#[from] EmulationError),
    /// The layers of the result could not be written.
    #[error(transparent)]
    Layers(StepFailure),
}

impl Fault for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Step(error) => error.kind(),
            Self::Context(error) => error.kind(),
            Self::Emulator(_) => ErrorKind::Stage(FailureKind::Environment),
            Self::Layers(failure) => Fault::kind(failure),
        }
    }

    fn span(&self) -> Option<&Span> {
        match self {
            Self::Step(error) => error.span(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Step(error) => error.hint(),
            Self::Context(error) => error.hint(),
            Self::Emulator(_) | Self::Layers(_) => None,
        }
    }

    fn step(&self) -> Option<&str> {
        match self {
            Self::Step(error) => error.step(),
            _ => None,
        }
    }

    fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Step(error) => error.exit_code(),
            _ => None,
        }
    }
}

/// The failure of a step. It displays as `LABEL: FAILURE` and has the causes of the failure.
#[derive(Debug)]
pub struct StepError(pub Box<SolveError>);

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StepError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.failure.source()
    }
}

impl Fault for StepError {
    fn kind(&self) -> ErrorKind {
        Fault::kind(&self.0.failure)
    }

    fn span(&self) -> Option<&Span> {
        Some(&self.0.span)
    }

    fn hint(&self) -> Option<Hint> {
        let cause = self.0.failure.cause().downcast_ref::<CopyError>();
        Fault::hint(&self.0.failure).or_else(|| match cause? {
            CopyError::NotFound { instead, .. } => missing(instead),
            _ => None,
        })
    }

    fn step(&self) -> Option<&str> {
        Some(&self.0.label)
    }

    fn exit_code(&self) -> Option<i32> {
        match self.0.failure.cause().downcast_ref::<xbuild_exec::RunError>()? {
            xbuild_exec::RunError::Exit { exit, .. } => Some(match exit {
                Exit::Code(code) => *code,
                // As a shell has it.
                Exit::Signal(signal) => 128 + signal,
            }),
            _ => None,
        }
    }
}

/// Returns advice about a source of a copy that is missing.
fn missing(instead: &Instead) -> Option<Hint> {
    let Instead { is_ignored, above, part, below, names } = instead;
    if *is_ignored {
        return Some(hints::ignored());
    }
    let others = names.iter().map(String::as_str).filter(|name| name != part);
    let name = suggest(part, others)?;
    Some(hints::did_you_mean(format_args!("{above}{name}{below}")))
}
