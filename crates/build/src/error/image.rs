//! Images that cannot be read.

use std::io;

use xbuild_image::{LayoutError, ResolveError};
use xbuild_model::{Digest, FailureKind, Platform, ReferenceError};
use xbuild_registry::PullError;
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints};

use super::{ErrorKind, Fault, OpenError};
use crate::sources::SourceError;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Its name is malformed.
    #[error(transparent)]
    Name(#[from] ReferenceError),
    /// A policy or the lock refuses it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A registry does not give it.
    #[error(transparent)]
    Registry(#[from] PullError),
    /// A registry that could not be asked does not give it, but the store has it.
    #[error(transparent)]
    Unreached(PullError),
    /// An OCI layout does not have it.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Its documents in the store are not valid, or it is not for the platform.
    #[error(transparent)]
    Image(#[from] ResolveError),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document of the store cannot be read.
    #[error("cannot read the document {digest} of the store")]
    Read {
        /// The document.
        digest: Digest,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The store lacks a part of it.
    #[error("{name}: {digest} is not in the store, and nobody knows another place that has it")]
    NotStored {
        /// The image.
        name: String,
        /// The document that is missing.
        digest: Digest,
    },
    /// The store does not have it, and no registry may be asked.
    #[error("{name} for {platform} is not in the store, and --pull=never asks no registry")]
    Absent {
        /// The image.
        name: String,
        /// The platform.
        platform: Platform,
    },
    /// The store does not have it for the platform, and the registry does not give it.
    #[error(
        "the image {name} of the store is not whole for {platform}, and its registry gives none"
    )]
    OtherPlatform {
        /// The image.
        name: String,
        /// The platform.
        platform: Platform,
        /// The error of the registry.
        source: Box<ImageError>,
    },
}

impl Fault for ImageError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(match self {
            // The registry did its part: the Dockerfile or the command line asks for too much.
            Self::Registry(PullError::Image { source: ResolveError::NoPlatform { .. } }) => {
                FailureKind::User
            }
            Self::Registry(_) | Self::Unreached(_) => FailureKind::Remote,
            Self::Store(error) => error.kind(),
            Self::Read { .. } => FailureKind::Internal,
            Self::Name(_)
            | Self::Layout(_)
            | Self::Image(_)
            | Self::NotStored { .. }
            | Self::Absent { .. }
            | Self::OtherPlatform { .. }
            | Self::Source(_) => FailureKind::User,
        })
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Unreached(_) => Some(hints::as_it_was()),
            Self::Absent { name, platform } => Some(hints::pull_first(platform, name)),
            Self::OtherPlatform { name, platform, .. } => {
                Some(hints::build_for_platform(platform, name))
            }
            Self::Source(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::NotStored { .. } => Some(hints::build_or_pull_again()),
            _ => None,
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

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Image(error) => error.hint(),
        }
    }
}
