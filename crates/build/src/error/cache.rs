//! Shared caches that cannot be opened, read or written.

use std::io;
use std::path::PathBuf;

use xbuild_cache::{CacheDocumentError, KeyError, ScopeError};
use xbuild_image::LayoutError;
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_registry::{PushError, RequestError};
use xbuild_wording::{Hint, hints, quoted};

use super::{ErrorKind, Fault};

/// Why a build cannot begin with the shared caches that it was given.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheOpenError {
    /// The name of a scope is none.
    #[error("invalid scope {name} of the cache {cache}", name = quoted(.name))]
    Scope {
        /// The cache.
        cache: String,
        /// The name.
        name: String,
        /// The rule.
        #[source]
        source: ScopeError,
    },
    /// The file of a key cannot be read.
    #[error("cannot read the key of the cache {cache} from {}", path.display())]
    KeyFile {
        /// The cache.
        cache: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A file holds no key.
    #[error("cannot use {} as the key of the cache {cache}", path.display())]
    Key {
        /// The cache.
        cache: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: KeyError,
    },
}

impl Fault for CacheOpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Scope { .. } => ErrorKind::Request,
            Self::KeyFile { .. } | Self::Key { .. } => ErrorKind::Stage(FailureKind::User),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Key { .. } => Some(hints::cache_keys()),
            _ => None,
        }
    }
}

/// Why a shared cache cannot be listed or pruned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheAdminError {
    /// The name of the scope is none.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The place cannot be read or changed.
    #[error("cannot look after the cache: {}", source.text())]
    Place {
        /// The reason.
        source: Box<CacheError>,
    },
    /// A trail cannot be read, so nobody knows which steps it uses.
    #[error("cannot read the trail {tag}: {}; nothing is removed", source.text())]
    Trail {
        /// Its tag.
        tag: String,
        /// The reason.
        source: Box<CacheError>,
    },
    /// The registry removes nothing.
    #[error("the place of the cache {cache} does not remove tags")]
    NoDelete {
        /// The cache.
        cache: String,
    },
}

impl From<CacheError> for CacheAdminError {
    fn from(source: CacheError) -> Self {
        Self::Place { source: Box::new(source) }
    }
}

impl Fault for CacheAdminError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Scope(_) => ErrorKind::Request,
            Self::Place { source } | Self::Trail { source, .. } => match &**source {
                CacheError::Request(_) | CacheError::Push(_) => {
                    ErrorKind::Stage(FailureKind::Remote)
                }
                CacheError::Layer(failure) => ErrorKind::Stage(failure.kind()),
                _ => ErrorKind::Stage(FailureKind::User),
            },
            Self::NoDelete { .. } => ErrorKind::Stage(FailureKind::Remote),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Place { source } => source.request().and_then(RequestError::hint),
            Self::NoDelete { .. } => Some(hints::cache_lifecycle()),
            _ => None,
        }
    }
}

/// Why a shared cache could not be read or written. A build goes on without it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// A registry did not answer, or refused.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// An upload failed.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A layout cannot be read or written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A blob could not be read.
    #[error("cannot read the blob {digest}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A layer of the build could not be read.
    #[error(transparent)]
    Layer(#[from] StepFailure),
    /// A document is refused.
    #[error(transparent)]
    Document(#[from] CacheDocumentError),
    /// A file cannot be locked.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
}

impl CacheError {
    fn request(&self) -> Option<&RequestError> {
        match self {
            Self::Request(error) => Some(error),
            Self::Push(PushError::Request { source, .. }) => Some(source),
            _ => None,
        }
    }

    /// Returns whether the request is not wanted any more.
    pub(crate) fn is_cancelled(&self) -> bool {
        matches!(self.request(), Some(RequestError::Cancelled))
    }

    /// Returns whether the registry limits the rate of requests.
    pub(crate) fn is_limit(&self) -> bool {
        self.request().is_some_and(|error| error.status() == Some(429))
    }

    /// Returns whether the next request would fail for the same reason.
    pub(crate) fn is_lasting(&self) -> bool {
        self.request().is_some_and(|error| {
            matches!(
                error,
                RequestError::Denied { .. }
                    | RequestError::TokenServer { .. }
                    | RequestError::Challenge { .. }
                    | RequestError::Connect { .. }
                    | RequestError::Tls { .. }
                    | RequestError::Stalled { .. }
                    | RequestError::Blocked { .. }
                    | RequestError::Credentials { .. }
                    | RequestError::PlainCredentials { .. }
                    | RequestError::Cancelled
            ) || matches!(error.status(), Some(429 | 500..=599))
        })
    }

    /// Returns the error and its causes as one line.
    pub(crate) fn text(&self) -> String {
        Self::text_of(self)
    }

    /// Does the same for any error.
    pub(crate) fn text_of(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        xbuild_image::printable::printable(&text, 500)
    }
}
