//! Results that cannot be written or pushed.

use xbuild_files::CopyError;
use xbuild_image::AssembleError;
use xbuild_layer::LayerError;
use xbuild_model::{FailureKind, StepFailure};
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints};

use crate::file_out::OutputError;

use super::{During, ErrorKind, Fault, LoadError, RequestError};

/// Why a result cannot be written or pushed. Outputs before the one that failed were written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A layer could not be read, or the registry refused the image.
    #[error(transparent)]
    Stage(During<StepFailure>),
    /// The tree of an image could not be read.
    #[error(transparent)]
    Tree(StepFailure),
    /// Manifests and index could not be made.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The files of an image could not be written to a folder of the user.
    #[error(transparent)]
    Folder(During<CopyError>),
    /// The files of an image could not be written to an archive.
    #[error(transparent)]
    Archive(During<CopyError>),
    /// The store does not take the image.
    #[error(transparent)]
    Store(StoreError),
    /// A file, or standard output, could not be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The image could not be loaded into a container engine.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The archive could not be finished.
    #[error(transparent)]
    Finish(During<LayerError>),
}

impl Fault for ExportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(error) => error.kind(),
            Self::Stage(During { error, .. }) => Fault::kind(&**error),
            Self::Tree(failure) => Fault::kind(failure),
            Self::Load(error) => error.kind(),
            Self::Store(error) => ErrorKind::Stage(error.kind()),
            Self::Assemble(AssembleError::DockerZstd { .. }) => ErrorKind::Request,
            Self::Folder(_) | Self::Output(OutputError::File { .. }) => {
                ErrorKind::Stage(FailureKind::User)
            }
            _ => ErrorKind::Stage(FailureKind::Internal),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Request(error) => error.hint(),
            Self::Stage(During { error, .. }) => Fault::hint(&**error),
            Self::Tree(failure) => Fault::hint(failure),
            Self::Load(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Assemble(AssembleError::DockerZstd { .. }) => Some(hints::compress_all()),
            _ => None,
        }
    }
}
