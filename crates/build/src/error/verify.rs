//! Images that cannot be verified.

use xbuild_model::{FailureKind, Platform};
use xbuild_wording::{Hint, hints};

use super::{ErrorKind, ExportError, Fault, ImageError};

/// Why an image cannot be compared with what was built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The image cannot be found.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// None of its images says what platform it is for.
    #[error("{name} does not say for which platform it is")]
    NoPlatform {
        /// The name.
        name: String,
    },
    /// It has no image for a platform.
    #[error("{name} is for {found}, and not for {platform}")]
    OtherPlatform {
        /// The name.
        name: String,
        /// The platform that was built.
        platform: Box<Platform>,
        /// The platform that it has.
        found: Box<Platform>,
    },
    /// A layer cannot be read.
    #[error(transparent)]
    Compare(Box<ExportError>),
}

impl From<ImageError> for VerifyError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl Fault for VerifyError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Image(error) => error.kind(),
            Self::NoPlatform { .. } | Self::OtherPlatform { .. } => {
                ErrorKind::Stage(FailureKind::User)
            }
            Self::Compare(error) => error.kind(),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Image(error) => error.hint(),
            Self::NoPlatform { .. } | Self::OtherPlatform { .. } => {
                Some(hints::platform_of_image())
            }
            Self::Compare(error) => error.hint(),
        }
    }
}
