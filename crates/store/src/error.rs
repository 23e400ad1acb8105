//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

use xbuild_model::Digest;

/// A failure of the store. Nothing that was published before is touched by it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file operation failed.
    #[error("cannot {action} {path:?} in the store")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The folder was written by another version of xbuild.
    #[error("the store {path:?} has format {found:?}, this program uses format {expected:?}")]
    Version {
        /// The store.
        path: PathBuf,
        /// What its `version` file says.
        found: String,
        /// What is understood.
        expected: &'static str,
    },
    /// The bytes written are not those that were announced.
    #[error(
        "expected {expected} with {expected_size} bytes, got {actual} with {actual_size} bytes"
    )]
    Mismatch {
        /// The digest announced.
        expected: Digest,
        /// The size announced, in bytes.
        expected_size: u64,
        /// The digest of what came.
        actual: Digest,
        /// The size of what came, in bytes.
        actual_size: u64,
    },
    /// A build is running, so nothing may be removed.
    #[error("the store {path:?} is in use by a running build")]
    Busy {
        /// The store.
        path: PathBuf,
    },
}

impl StoreError {
    /// Returns a function that makes an I/O error of what an operation on `path` returned.
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
