//! Bytes that are not those of a blob.

use std::error::Error;
use std::io;

use crate::{BlobSource, Descriptor, Digest, FailureKind};

/// A place has other bytes than those of a blob.
#[derive(Debug, thiserror::Error)]
#[error("other bytes came from {from} than those of the blob {digest}")]
pub struct WrongBytes {
    /// The blob.
    pub digest: Digest,
    /// The place.
    pub from: String,
    /// Whose business it is: the registry's, or the user's who named a layout.
    pub kind: FailureKind,
}

impl WrongBytes {
    /// Returns the fault of the place that a blob was read from.
    pub fn new(blob: &Descriptor, source: &BlobSource) -> Self {
        let (from, kind) = match source {
            BlobSource::Registry { registry, repository } => {
                (format!("{registry}/{repository}"), FailureKind::Remote)
            }
            BlobSource::Layout { path } => (path.display().to_string(), FailureKind::User),
            BlobSource::Store => ("the store".to_owned(), FailureKind::Internal),
        };
        Self { digest: blob.digest.clone(), from, kind }
    }

    /// Returns it if it is among the causes of an error.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            // The source of an `io::Error` skips the error that it wraps.
            cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        None
    }
}
