//! Errors of commands on images: naming, pulling, pushing, saving, loading, copying.

use std::io;
use std::path::PathBuf;

use xbuild_image::{EditError, LayoutError, ResolveError};
use xbuild_layer::LayerError;
use xbuild_model::{FailureKind, ReferenceError, StepFailure};
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints};

use super::{During, ErrorKind, Fault, ImageError, OpenError};
use crate::file_out::OutputError;

/// Why an image could not be named, moved or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagesError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Blobs could not be fetched or pushed.
    #[error(transparent)]
    Stage(During<StepFailure>),
    /// A layout or archive cannot be written.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// An index cannot be put together or changed.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// The store has no such image.
    #[error("the store has no image {name}")]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// A place of an image is spelt in a way that is not known.
    #[error("{place}: {reason}")]
    Place {
        /// The place.
        place: String,
        /// The reason.
        reason: String,
    },
    /// A name that is to be pushed to, or given, has a digest.
    #[error("{name}: a name that is given cannot have a digest")]
    NameWithDigest {
        /// The name.
        name: String,
    },
    /// An archive cannot be read.
    #[error("cannot read {}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// An archive cannot be unpacked.
    #[error("cannot read {}", path.display())]
    Compressed {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: LayerError,
    },
    /// An archive has no images, or not all that its images need.
    #[error("{} is not an archive of images: {reason}", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl From<ImageError> for ImagesError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<ReferenceError> for ImagesError {
    fn from(error: ReferenceError) -> Self {
        ImageError::from(error).into()
    }
}

impl From<ResolveError> for ImagesError {
    fn from(error: ResolveError) -> Self {
        ImageError::from(error).into()
    }
}

impl Fault for ImagesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Store(error) => ErrorKind::Stage(error.kind()),
            Self::Stage(During { error, .. }) => Fault::kind(&**error),
            Self::Layout(LayoutError::Layer { source, .. }) => Fault::kind(source),
            Self::Layout(LayoutError::LayerBytes { source }) => ErrorKind::Stage(source.kind),
            Self::Place { .. } | Self::NameWithDigest { .. } => ErrorKind::Request,
            Self::Output(OutputError::Stdout { .. }) => ErrorKind::Stage(FailureKind::Internal),
            _ => ErrorKind::Stage(FailureKind::User),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Stage(During { error, .. }) => Fault::hint(&**error),
            Self::Layout(LayoutError::Layer { source, .. }) => Fault::hint(source),
            Self::Layout(LayoutError::NotDocker { .. }) => Some(hints::one_platform_or_oci()),
            Self::Edit(EditError::SamePlatform { .. }) => Some(hints::leave_one_out()),
            Self::Unknown { .. } => Some(hints::images_are_listed()),
            _ => None,
        }
    }
}
