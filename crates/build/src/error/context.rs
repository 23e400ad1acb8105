//! Contexts and Dockerfiles that cannot be read.

use std::io;
use std::path::PathBuf;

use xbuild_files::{CopyError, IgnoreError, UnpackError};
use xbuild_model::{FailureKind, Platform, StepFailure};
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints};

use super::{During, ErrorKind, Fault, OpenError, RequestError};

/// Why a context or the Dockerfile cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The store or the network cannot be used, and the context is not a folder.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A file operation failed.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// The attempt, as a verb and perhaps an object.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The Dockerfile of one platform cannot be read.
    #[error("the Dockerfile of {platform}: {error}")]
    Own {
        /// The platform.
        platform: Platform,
        /// The reason.
        #[source]
        error: Box<ContextError>,
    },
    /// A stream or a download cannot be read.
    #[error("cannot read {name}: {error}")]
    Stream {
        /// The name of the stream or the context in messages.
        name: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// A context has no byte.
    #[error("{name} is empty: a Dockerfile or a tar archive is expected")]
    Empty {
        /// The name of the stream or the context in messages.
        name: String,
    },
    /// The context is a file, but not an archive.
    #[error("the build context {name} is neither a folder nor a tar archive")]
    NoArchive {
        /// The file.
        name: String,
    },
    /// No file of a folder of this machine has one of the usual names.
    #[error("there is no Dockerfile in {}", folder.display())]
    NoDockerfile {
        /// The folder.
        folder: PathBuf,
    },
    /// No file of a context that was fetched or unpacked has one of the usual names.
    #[error("there is no Dockerfile in the build context")]
    NoDockerfileInContext,
    /// An archive cannot be unpacked.
    #[error(transparent)]
    Unpack(During<UnpackError>),
    /// The store cannot keep a context that is not a folder.
    #[error(transparent)]
    Store(StoreError),
    /// A context or the Dockerfile cannot be fetched.
    #[error(transparent)]
    Fetch(StepFailure),
    /// An ignore file is malformed.
    #[error("{}, {error}", path.display())]
    IgnoreFile {
        /// The file.
        path: PathBuf,
        /// The fault and its line.
        error: IgnoreError,
    },
    /// The folder of a context cannot be opened.
    #[error(transparent)]
    Folder(Box<CopyError>),
}

impl Fault for ContextError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Own { error, .. } => error.kind(),
            Self::Store(error) => ErrorKind::Stage(error.kind()),
            Self::Fetch(failure) => Fault::kind(failure),
            _ => ErrorKind::Stage(FailureKind::User),
        }
    }

    fn hint(&self) -> Option<Hint> {
        let hint = match self {
            Self::Request(error) => return error.hint(),
            Self::Open(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Fetch(failure) => return Fault::hint(failure),
            Self::Own { platform, error } => match error.is_missing() {
                true => return Some(hints::dockerfile_of_platform(platform)),
                false => return error.hint(),
            },
            Self::NoArchive { .. } => hints::dockerfile_beside_archive(),
            Self::NoDockerfile { .. } | Self::NoDockerfileInContext => hints::name_dockerfile(),
            Self::File { action: READ_DOCKERFILE, error, .. }
                if error.kind() == io::ErrorKind::NotFound =>
            {
                hints::another_dockerfile()
            }
            _ => return None,
        };
        Some(hint)
    }
}

impl ContextError {
    /// Returns whether there is no file of that name.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::File { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The action of a [`ContextError::File`] that has a hint.
pub(crate) const READ_DOCKERFILE: &str = "read the Dockerfile";
