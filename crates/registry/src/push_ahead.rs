//! Sending layers ahead of their image: while it is built, even while a layer is written.
//!
//! Nothing depends on it: [`Client::push`] sends the blobs that are missing in the end and reports
//! failures. So the functions here only return whether the blob is there.

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
    /// Puts a blob into the repository of `target` unless it has it. `sent` takes the number of further
    /// bytes that were sent. Returns whether the blob is there.
    pub fn push_blob(
        &self,
        target: &Reference,
        blob: &Descriptor,
        file: &File,
        sent: &(dyn Fn(u64) + Sync),
    ) -> bool {
        let _span = debug_span!("blob", digest = %blob.digest, size = blob.size).entered();
        self.ahead(target, |uploads| {
            if uploads.has(blob).map_err(UploadError::Request)? {
                return Ok(());
            }
            let open = |position| -> io::Result<Box<dyn Read + Send>> {
                Ok(Box::new(FileFrom { file: file.try_clone()?, position }))
            };
            uploads.upload(blob, None, &open, sent)
        })
    }

    /// Puts a blob into the repository of `target` while it is made: `bytes` may come slowly, and
    /// after the last one `digest` returns their digest. Returns whether the blob is there; there
    /// is only one attempt.
    pub fn push_stream(
        &self,
        target: &Reference,
        bytes: Box<dyn Read + Send>,
        digest: &dyn Fn() -> Option<Digest>,
    ) -> bool {
        let bytes = Mutex::new(Some(bytes));
        let open = |_| {
            let taken = bytes.lock().unwrap_or_else(PoisonError::into_inner).take();
            // A redirect or a new token would need them again.
            taken.ok_or_else(|| io::Error::other("the bytes were sent already"))
        };
        let has_limit = Endpoint::of(target.registry(), &self.connections.options)
            .is_ok_and(|endpoint| self.connections.chunk_size(&endpoint).is_some());
        if has_limit {
            // A body without length may become too large.
            return false;
        }
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
        send(&Uploads::new(&self.connections, &endpoint, repository)).is_ok()
    }
}
