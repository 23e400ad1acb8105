//! What can go wrong, by family of operation.
//!
//! No message holds a URL's query or user information, a header, or unescaped text of a server:
//! they pass through `origin::redact` and [`Detail`] first.

use std::io;
use std::time::Duration;

use xbuild_image::ResolveError;
use xbuild_model::{Digest, FailureKind, StepFailure};

use crate::detail::Detail;

/// Why one HTTP request, with the authentication it needed, had no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No connection: name resolution, TCP or TLS.
    #[error("cannot connect to {url}")]
    Connect {
        /// What was asked for, redacted.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing came or went for a while.
    #[error("no answer from {url} for {seconds} s")]
    Stalled {
        /// What was asked for, redacted.
        url: String,
        /// How long.
        seconds: u64,
    },
    /// The connection was lost in the middle.
    #[error("the connection to {url} broke")]
    Broken {
        /// What was asked for, redacted.
        url: String,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// The server answered with another status than those that mean success.
    #[error("{url} answered {status}{detail}")]
    Status {
        /// What was asked for, redacted.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said about it.
        detail: Detail,
        /// When the server wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// The server wants other credentials, or does not let these do what was asked.
    #[error("{registry} denied access for {scope} ({status}{detail})")]
    Denied {
        /// Host and port of the registry.
        registry: String,
        /// The repositories and actions asked for.
        scope: String,
        /// The HTTP status.
        status: u16,
        /// What the server said about it.
        detail: Detail,
    },
    /// The answer is longer than anything sensible.
    #[error("the answer of {url} is longer than {limit} bytes")]
    TooLong {
        /// What was asked for, redacted.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer points somewhere we do not go.
    #[error("{url} points to {target:?}: {reason}")]
    Target {
        /// What was asked for, redacted.
        url: String,
        /// Where it points, redacted.
        target: String,
        /// The rule that forbids it.
        reason: &'static str,
    },
    /// A 401 without a challenge that can be met.
    #[error("{url} asks for an authentication that is not known: {challenge:?}")]
    Challenge {
        /// What was asked for, redacted.
        url: String,
        /// The names of the schemes offered.
        challenge: String,
    },
    /// The token server gave an answer without a token in it.
    #[error("the token server {url} gave no usable token")]
    Token {
        /// The server, redacted.
        url: String,
    },
    /// There are credentials, but the connection would show them to everybody.
    #[error("the credentials for {registry} are not sent over plain HTTP")]
    PlainCredentials {
        /// Host and port of the registry.
        registry: String,
    },
    /// The credentials could not be had.
    #[error("no credentials for {registry}")]
    Credentials {
        /// Host and port of the registry.
        registry: String,
        /// The cause.
        #[source]
        source: CredentialsError,
    },
    /// A header that the protocol needs is absent or makes no sense.
    #[error("{url} sent no usable {header} header")]
    Header {
        /// What was asked for, redacted.
        url: String,
        /// The header.
        header: &'static str,
    },
    /// The HTTP client could not be set up from the options.
    #[error("cannot set up the HTTP client: {what}")]
    Setup {
        /// Which part.
        what: &'static str,
    },
}

/// Why a file of a web server could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The server could not be reached or refused.
    #[error(transparent)]
    Request {
        /// The request's failure.
        source: RequestError,
    },
    /// The bytes could not be written here.
    #[error("cannot keep what was downloaded")]
    Write {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl RequestError {
    /// Returns whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { source, .. } => !is_certificate_error(source),
            Self::Stalled { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500 | 502..=504),
            _ => false,
        }
    }

    /// Returns the HTTP status that the server answered with, if it came to that.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Denied { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns after which time the server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Finds a refused certificate in the causes: asking again does not make it valid.
fn is_certificate_error(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // hyper wraps the TLS library's error in io::Error, whose `source` skips a level.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let is_tls = |e: &(dyn std::error::Error + 'static)| {
            matches!(
                e.downcast_ref::<rustls::Error>(),
                Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
            )
        };
        if is_tls(error) || inner.is_some_and(|e| is_tls(e)) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Why credentials could not be read or fetched. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The configuration file is not JSON of the expected shape.
    #[error("the registry configuration is not valid (line {line}, column {column})")]
    Malformed {
        /// Line, 1-based.
        line: usize,
        /// Column, 1-based.
        column: usize,
    },
    /// An `auth` member is not base64 of `user:password`.
    #[error("the `auth` member for {registry:?} is not base64 of user:password")]
    Auth {
        /// The key it is under.
        registry: String,
    },
    /// The name of a helper has other characters than `a-z`, `0-9`, `-`, `_` and `.`.
    #[error("invalid name of a credential helper: {name:?}")]
    HelperName {
        /// The name.
        name: String,
    },
    /// The helper is in no folder of PATH.
    #[error("the credential helper {program} is not installed")]
    HelperMissing {
        /// The program.
        program: String,
    },
    /// The helper could not be run.
    #[error("the credential helper {program} cannot be run")]
    HelperRun {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The helper failed, or said nothing that makes sense.
    #[error("the credential helper {program} gave no credentials: {reason}")]
    HelperAnswer {
        /// The program.
        program: String,
        /// What was wrong.
        reason: &'static str,
    },
}

/// Why an image, or a blob of it, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry has no such image, or does not show it.
    #[error("{name}: not found")]
    NotFound {
        /// The image.
        name: String,
    },
    /// A request failed.
    #[error("cannot pull {name}")]
    Request {
        /// The image, or blob and repository.
        name: String,
        /// The cause.
        #[source]
        source: RequestError,
    },
    /// The documents of the image are wrong, or it is not for the platform.
    #[error(transparent)]
    Image {
        /// The cause.
        #[from]
        source: ResolveError,
    },
    /// A blob has more or fewer bytes than its descriptor says.
    #[error("blob {digest} of {name} has not the {size} bytes that the manifest says")]
    BlobSize {
        /// The repository.
        name: String,
        /// The blob.
        digest: Digest,
        /// From the descriptor, in bytes.
        size: u64,
    },
}

impl PullError {
    /// Returns whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_retryable())
    }
}

impl From<PullError> for StepFailure {
    fn from(error: PullError) -> Self {
        let hint = match &error {
            PullError::Request { source, .. } => hint(source),
            _ => None,
        };
        hint.into_iter().fold(Self::new(FailureKind::Remote, error), StepFailure::with_hint)
    }
}

/// Returns what the user can do about a failed request.
fn hint(error: &RequestError) -> Option<&'static str> {
    match error {
        RequestError::Denied { .. } => {
            Some("check the name of the repository, and that you are logged in to the registry")
        }
        RequestError::PlainCredentials { .. } => {
            Some("use HTTPS, or allow credentials over plain HTTP for this registry")
        }
        RequestError::Status { status: 429, .. } => {
            Some("the registry limits the rate of requests; log in, or try again later")
        }
        _ => None,
    }
}

/// Why an image could not be pushed. Tags move last, so none of them names a half-pushed image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// A request failed.
    #[error("cannot push {what} to {repository}")]
    Request {
        /// The object: `blob sha256:…`, `manifest sha256:…` or `tag …`.
        what: String,
        /// Registry and repository.
        repository: String,
        /// The cause.
        #[source]
        source: Box<RequestError>,
    },
    /// The bytes of a layer could not be read.
    #[error("cannot read layer {digest} to push it to {repository}")]
    Source {
        /// The layer.
        digest: Digest,
        /// Registry and repository.
        repository: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Whoever keeps the layers could not give one.
    #[error("layer {digest} is not at hand")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The cause.
        #[source]
        source: StepFailure,
    },
    /// The registry stored a manifest under another digest than its own.
    #[error("{repository} stored manifest {expected} as {actual:?}")]
    OtherDigest {
        /// Registry and repository.
        repository: String,
        /// What was sent.
        expected: Digest,
        /// What the registry says.
        actual: String,
    },
}

impl PushError {
    /// Returns whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_retryable())
    }
}

impl From<PushError> for StepFailure {
    fn from(error: PushError) -> Self {
        if let PushError::Layer { source, .. } = &error {
            return source.clone();
        }
        let hint = match &error {
            PushError::Request { source, .. } => hint(source),
            _ => None,
        };
        hint.into_iter().fold(Self::new(FailureKind::Remote, error), StepFailure::with_hint)
    }
}
