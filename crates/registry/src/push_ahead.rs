//! Sending layers before there is an image to push: while it is built, and while they are written.
//!
//! Nothing depends on it: whatever is missing in the end [`Client::push`] sends, and what is wrong
//! it tells. So all that is said here is whether a blob is there.

use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use tracing::debug_span;
use tracing::field::{Empty, display};
use xbuild_image::FileFrom;
use xbuild_model::{Descriptor, Digest, Reference};

use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::upload::{UploadError, Uploads};

impl Client {
    /// Puts a blob into the repository of `target`, unless it is there. Returns whether it is.
    pub fn push_blob(&self, target: &Reference, blob: &Descriptor, file: &File) -> bool {
        let _span = debug_span!("blob", digest = %blob.digest, size = blob.size).entered();
        self.ahead(target, |uploads| {
            if uploads.has(blob).map_err(UploadError::Request)? {
                return Ok(());
            }
            let open = |position| -> io::Result<Box<dyn Read + Send>> {
                Ok(Box::new(FileFrom { file: file.try_clone()?, position }))
            };
            uploads.upload(blob, None, &open, &|_| {})
        })
    }

    /// Puts a blob into the repository of `target` whose size and digest are not known yet: `bytes`
    /// may come as slowly as they are made, and at their end `digest` tells what they were. Returns
    /// whether it is there; nothing is tried twice.
    pub fn push_stream(
        &self,
        target: &Reference,
        bytes: Box<dyn Read + Send>,
        digest: &dyn Fn() -> Option<Digest>,
    ) -> bool {
        let bytes = Mutex::new(Some(bytes));
        let open = |_| {
            let taken = bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
            // After a redirect, or for a new token, they would be needed again.
            taken.ok_or_else(|| io::Error::other("the bytes were sent already"))
        };
        let span = debug_span!("blob", digest = Empty).entered();
        let digest = || {
            let digest = digest()?;
            span.record("digest", display(&digest));
            Some(digest)
        };
        self.ahead(target, |uploads| uploads.upload_unknown(&open, &digest))
    }

    fn ahead(
        &self,
        target: &Reference,
        send: impl FnOnce(&Uploads<'_>) -> Result<(), UploadError>,
    ) -> bool {
        let Ok(endpoint) = Endpoint::of(target.registry(), &self.connections.options) else {
            return false;
        };
        let repository = target.repository();
        send(&Uploads { connections: &self.connections, endpoint: &endpoint, repository }).is_ok()
    }
}
