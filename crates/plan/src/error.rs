//! Errors in a Dockerfile that parses.

mod mount;

use std::fmt;

use thiserror::Error;
use xbuild_dockerfile::{ExpandError, Keyword, ParseErrorKind, PortError, Span};
use xbuild_model::remote::RemoteError;
use xbuild_model::{DigestError, ModeError, PlatformError, ReferenceError};
use xbuild_wording::{Hint, hints, quoted};

pub use mount::{Covered, MountError};

/// All errors of a plan.
///
/// **Shape**: at least one, in the order of files and lines, each once even if several platforms have
/// it; at most [`PlanErrors::LIMIT`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct PlanErrors(Vec<PlanError>);

impl PlanErrors {
    /// The most errors that are kept.
    pub const LIMIT: usize = 50;

    /// Returns the errors, or `None` if there are none.
    pub(crate) fn of(mut errors: Vec<PlanError>) -> Option<Self> {
        let mut kept: Vec<PlanError> = Vec::new();
        errors.sort_by_key(|error| {
            error.span.as_ref().map(|span| (span.file.clone(), *span.lines.start()))
        });
        for error in errors {
            if kept.len() < Self::LIMIT && !kept.contains(&error) {
                kept.push(error);
            }
        }
        (!kept.is_empty()).then_some(PlanErrors(kept))
    }

    /// Returns the errors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, PlanError> {
        self.0.iter()
    }
}

impl From<PlanError> for PlanErrors {
    fn from(error: PlanError) -> Self {
        PlanErrors(vec![error])
    }
}

impl<'a> IntoIterator for &'a PlanErrors {
    type Item = &'a PlanError;
    type IntoIter = std::slice::Iter<'a, PlanError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for PlanErrors {
    /// Writes one line for each error: place, message, hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(span) = &error.span {
                write!(f, "{span}: ")?;
            }
            write!(f, "{error}")?;
            if let Some(hint) = error.hint() {
                write!(f, " ({hint})")?;
            }
        }
        Ok(())
    }
}

/// One error and the lines that it is about. Its message does not repeat the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanError {
    /// The kind of the error.
    pub kind: Box<PlanErrorKind>,
    /// The place, unless the error is about the command line.
    pub span: Option<Span>,
}

impl PlanError {
    pub(crate) fn new(kind: impl Into<PlanErrorKind>, span: &Span) -> Self {
        PlanError { kind: Box::new(kind.into()), span: Some(span.clone()) }
    }

    /// Returns advice on how to mend it, if any is known.
    pub fn hint(&self) -> Option<Hint> {
        match &*self.kind {
            PlanErrorKind::BlankBase { suggestion: Some(name), .. }
            | PlanErrorKind::BlankPlatform { suggestion: Some(name), .. } => {
                Some(hints::did_you_mean(format_args!("${name}")))
            }
            PlanErrorKind::BlankBase { .. } | PlanErrorKind::BlankPlatform { .. } => {
                Some(hints::variables_of_from())
            }
            PlanErrorKind::UnknownTarget { stages, suggestion, .. } => match suggestion {
                Some(name) => Some(hints::did_you_mean(name)),
                None if stages.is_empty() => Some(hints::no_stage_has_a_name()),
                None => Some(hints::stages(stages.join(", "))),
            },
            PlanErrorKind::Mount(error) => error.hint(),
            PlanErrorKind::Epochs { .. } => Some(hints::one_epoch()),
            PlanErrorKind::RemoteCopy { .. } => Some(hints::use_add()),
            PlanErrorKind::LaterStage { .. } => Some(hints::move_stage_up()),
            _ => None,
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for PlanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The kind is the message itself, not a cause of it.
        std::error::Error::source(&*self.kind)
    }
}

/// The kind of an error. Text from the file is quoted and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum PlanErrorKind {
    /// Variables cannot be replaced.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A word of EXPOSE is no port.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The value of FROM `--platform` is not a platform.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// A name is neither a stage nor a context, and cannot be that of an image.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A RUN `--mount` is invalid.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A trigger of the base image cannot be read.
    #[error(
        "invalid ONBUILD trigger {trigger} of the base {base}",
        trigger = quoted(.trigger), base = quoted(.base)
    )]
    Trigger { trigger: String, base: String, source: ParseErrorKind },
    /// The name in FROM expands to nothing.
    #[error("the base name {written} is empty: it should not be blank", written = quoted(.written))]
    BlankBase { written: String, suggestion: Option<String> },
    /// FROM `--platform` expands to nothing.
    #[error("empty platform: {written} is unset or empty", written = quoted(.written))]
    BlankPlatform { written: String, suggestion: Option<String> },
    /// `--target` names no stage.
    #[error("target stage {name} not found", name = quoted(.name))]
    UnknownTarget { name: String, stages: Vec<String>, suggestion: Option<String> },
    /// COPY `--from` has a number, and no stage above has it.
    #[error("stage {index} not found: COPY --from stands in stage {own} and takes stages above it")]
    StageIndex { index: String, own: usize },
    /// COPY `--from` or a mount names a stage that follows.
    #[error(
        "stage {name} is defined later in the file: only stages above can be taken from",
        name = quoted(.name)
    )]
    LaterStage { name: String },
    /// COPY `--from` or a mount names the stage it stands in.
    #[error("stage {name} cannot take files from itself", name = quoted(.name))]
    OwnStage { name: String },
    /// A feature that is known but not implemented.
    #[error("{feature} is not implemented yet")]
    NotImplemented { feature: String },
    /// A RUN asks for all capabilities, and they were not granted.
    #[error(
        "RUN --security=insecure needs the entitlement security.insecure (--allow security.insecure)"
    )]
    Insecure,
    /// An exec form has no program.
    #[error("{keyword} has an empty command")]
    EmptyCommand { keyword: Keyword },
    /// `--checksum` with a file of the context.
    #[error("--checksum is only for remote sources: {path} is local", path = quoted(.path))]
    LocalChecksum { path: String },
    /// `--checksum` with several sources.
    #[error("--checksum is for one remote source, not for {count} sources")]
    ChecksumCount { count: usize },
    /// The value of `--checksum` is not a digest.
    #[error(transparent)]
    Checksum(#[from] DigestError),
    /// The value of `--chmod` is not a mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// `SOURCE_DATE_EPOCH` is neither a time nor a name.
    #[error(
        "invalid SOURCE_DATE_EPOCH {value}: expected whole seconds since 1970, context, or the name \
         of a stage or context", value = quoted(.value)
    )]
    Epoch { value: String },
    /// `SOURCE_DATE_EPOCH` names a stage that is more than one ADD.
    #[error(
        "SOURCE_DATE_EPOCH cannot be the time of the stage {name}: {reason}",
        name = quoted(.name)
    )]
    EpochStage { name: String, reason: &'static str },
    /// Two Dockerfiles of one build have different times.
    #[error(
        "the Dockerfiles of this build set SOURCE_DATE_EPOCH to {first} and {second}",
        first = quoted(.first), second = quoted(.second)
    )]
    Epochs { first: String, second: String },
    /// A source is neither a path nor a usable URL.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// COPY with a source that only ADD fetches.
    #[error("source can't be a URL or git repository for COPY: {url}", url = quoted(.url))]
    RemoteCopy { url: String },
    /// A name is empty after expansion.
    #[error("the name {written} of {keyword} is empty after expansion", written = quoted(.written))]
    EmptyName { keyword: Keyword, written: String },
    /// A path is empty after expansion.
    #[error("the path {written} of {keyword} is empty after expansion", written = quoted(.written))]
    EmptyPath { keyword: Keyword, written: String },
    /// STOPSIGNAL has no signal.
    #[error(
        "invalid signal {signal}: expected a name such as SIGTERM or a number",
        signal = quoted(.signal)
    )]
    BadSignal { signal: String },
    /// The delimiter of a COPY heredoc cannot be the name of a file.
    #[error("{name} cannot be the name of a file that {keyword} makes", name = quoted(.name))]
    HeredocName { keyword: Keyword, name: String },
    /// The variables of a stage take too much space.
    #[error("the variables of the stage hold more than {limit} bytes")]
    EnvironmentSize { limit: usize },
}
