//! Files of web servers that cannot be downloaded.

use std::io;

use xbuild_wording::Hint;

use crate::error::request::RequestError;

/// Why a file of a web server could not be downloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The request failed.
    #[error(transparent)]
    Request {
        /// The cause.
        source: RequestError,
    },
    /// The bytes could not be written.
    #[error("cannot write the downloaded file")]
    Write {
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl DownloadError {
    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Request { source } => source.hint(),
            Self::Write { .. } => None,
        }
    }
}
