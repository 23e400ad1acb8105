//! Errors of logins that are verified and kept.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use xbuild_model::FailureKind;
use xbuild_registry::{CredentialsError, RequestError};
use xbuild_wording::{Hint, hints};

use super::{ErrorKind, Fault};

/// Why a login is not kept, or not forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// There is no home folder.
    #[error("there is no home folder to keep the login in")]
    NoFile,
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {}: {error}", path.display())]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The file is not of the expected form, so it is left as it is.
    #[error("{}: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The reason.
        fault: CredentialsError,
    },
    /// The registry refuses the login, or cannot be asked.
    #[error("cannot log in to {registry}")]
    Registry {
        /// Host and port of the registry.
        registry: String,
        /// The reason.
        #[source]
        source: RequestError,
    },
    /// The registry denies access with the user's login, or cannot be asked.
    #[error("cannot use the registry {registry}")]
    Unusable {
        /// Host and port of the registry.
        registry: String,
        /// The reason.
        #[source]
        source: RequestError,
    },
    /// A helper does not keep or forget the login.
    #[error(transparent)]
    Helper(Arc<CredentialsError>),
}

impl Fault for LoginError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Stage(match self {
            Self::Registry { .. } | Self::Unusable { .. } => FailureKind::Remote,
            _ => FailureKind::User,
        })
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoFile => Some(hints::docker_config()),
            Self::Registry { source, .. } if source.is_denied() => Some(hints::user_and_password()),
            Self::Registry { source, .. } | Self::Unusable { source, .. } => source.hint(),
            _ => None,
        }
    }
}
