//! Images that cannot be pulled.

use xbuild_image::ResolveError;
use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_wording::{Hint, hints};

use crate::error::request::RequestError;

/// Why an image, or a blob of it, could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PullError {
    /// The registry does not have the image, or does not show it.
    #[error("{name}: not found")]
    NotFound {
        /// The image.
        name: String,
    },
    /// The image is there, but the registry does not have a document that it names.
    #[error("the {what} {digest} of {name} is not in the registry")]
    MissingPart {
        /// The image.
        name: String,
        /// The kind of the document: `manifest` or `configuration`.
        what: &'static str,
        /// The document.
        digest: Digest,
        /// The answer of the registry.
        #[source]
        source: Box<RequestError>,
    },
    /// A request failed.
    #[error("cannot pull {name}")]
    Request {
        /// The image, or the blob and its repository.
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
    /// The store has lost a blob, and there is no other place to fetch it from.
    #[error("the blob {digest} is not in the store, and nobody knows another place that has it")]
    Nowhere {
        /// The blob.
        digest: Digest,
    },
    /// The size of a blob is not that of its descriptor.
    #[error("blob {digest} of {name} is not {size} bytes long, as its manifest says")]
    BlobSize {
        /// The repository.
        name: String,
        /// The blob.
        digest: Digest,
        /// The size in the descriptor, in bytes.
        size: u64,
    },
}

impl PullError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Request { source, .. } => source.hint(),
            Self::Nowhere { .. } => Some(hints::build_or_pull_image_again()),
            _ => None,
        }
    }

    /// Returns whether an error is about one document, which is missing, kept back or not valid; the
    /// other documents of the image can be read all the same.
    pub fn is_of_document(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::MissingPart { .. } | Self::Image { .. } => true,
            Self::Request { source: RequestError::Status { status, .. }, .. } => {
                matches!(status, 400 | 406 | 409 | 410 | 451)
            }
            _ => false,
        }
    }

    /// Returns whether trying again later may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Request { source, .. } if source.is_retryable())
    }
}

impl From<PullError> for StepFailure {
    fn from(error: PullError) -> Self {
        let hint = error.hint();
        hint.into_iter().fold(Self::new(FailureKind::Remote, error), StepFailure::with_hint)
    }
}
