//! Images that cannot be pushed.

use std::io;

use xbuild_model::{Digest, FailureKind, StepFailure, WrongBytes};
use xbuild_wording::{hints, quoted};

use crate::error::request::RequestError;

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
    /// The tag names another image, and the registry does not let it be moved.
    #[error("cannot move tag {tag} of {repository}, which names another image")]
    ImmutableTag {
        /// The tag.
        tag: String,
        /// Registry and repository.
        repository: String,
        /// The cause.
        #[source]
        source: Box<RequestError>,
    },
    /// The registry takes no image with a layer that it does not have itself.
    #[error("{repository} wants the bytes of the foreign layer {digest}, which is not pushed")]
    Foreign {
        /// The layer.
        digest: Digest,
        /// Registry and repository.
        repository: String,
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
    /// The bytes of a layer could not be found.
    #[error("cannot find the bytes of layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The cause.
        #[source]
        source: StepFailure,
    },
    /// The registry stored a manifest under a digest that is not its own.
    #[error("{repository} stored manifest {expected} as {actual}", actual = quoted(.actual))]
    OtherDigest {
        /// Registry and repository.
        repository: String,
        /// The digest of the manifest.
        expected: Digest,
        /// The digest that the registry names.
        actual: String,
    },
    /// The registry answered as if it had stored a manifest, and does not have it.
    #[error("{repository} answered {status} to {what}, but does not have it")]
    NotStored {
        /// Registry and repository.
        repository: String,
        /// The object: `manifest sha256:…` or `tag …`.
        what: String,
        /// The HTTP status.
        status: u16,
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
            PushError::Request { source, .. } => source.hint(),
            PushError::ImmutableTag { .. } => Some(hints::immutable_tag()),
            PushError::Foreign { .. } => Some(hints::foreign_layer()),
            _ => None,
        };
        let wrong = match &error {
            PushError::Source { source, .. } => WrongBytes::within(source),
            _ => None,
        };
        let kind = wrong.map_or(FailureKind::Remote, |wrong| wrong.kind);
        hint.into_iter().fold(Self::new(kind, error), StepFailure::with_hint)
    }
}
