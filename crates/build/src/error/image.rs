//! Images that cannot be read.

use xbuild_image::{LayoutError, ResolveError};
use xbuild_model::{FailureKind, ReferenceError};
use xbuild_registry::PullError;

use super::{ErrorKind, Fault, OpenError};

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Its name is malformed.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// A registry does not give it.
    #[error(transparent)]
    Registry(#[from] PullError),
    /// An OCI layout does not have it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl Fault for ImageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(match self {
            // The registry did its part: the Dockerfile or the command line asks for too much.
            Self::Registry(PullError::Image { source: ResolveError::NoPlatform { .. } }) => {
                FailureKind::User
            }
            Self::Registry(_) => FailureKind::Remote,
            Self::Name(_) | Self::Layout(_) => FailureKind::User,
        })
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Registry(error) => error.hint().map(str::to_owned),
            Self::Name(_) | Self::Layout(_) => None,
        }
    }
}

/// Why the documents of an image cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// There is no client for registries.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The image cannot be read.
    #[error(transparent)]
    Image(Box<ImageError>),
}

impl From<ImageError> for InspectError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl Fault for InspectError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) => error.kind(),
            Self::Image(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Image(error) => error.hint(),
        }
    }
}
