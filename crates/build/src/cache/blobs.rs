//! The blobs of a build, and those that a shared cache alone has.

use std::io::Read;
use std::sync::Arc;

use xbuild_model::seam::Blobs;
use xbuild_model::{BlobSource, Descriptor, StepFailure};
use xbuild_registry::Client;

use super::imports::Imports;

/// Opens blobs, those of a shared cache with less patience: their steps can run.
pub(crate) struct CacheBlobs {
    client: Client,
    hasty: Client,
    imports: Arc<Imports>,
}

impl CacheBlobs {
    pub(crate) fn new(client: &Client, imports: &Arc<Imports>) -> Self {
        let (client, hasty) = (client.clone(), client.hasty());
        Self { client, hasty, imports: Arc::clone(imports) }
    }
}

impl Blobs for CacheBlobs {
    fn open(
        &self,
        blob: &Descriptor,
        source: &BlobSource,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        match self.imports.has_blob(&blob.digest) {
            true => self.hasty.open(blob, source, offset),
            false => self.client.open(blob, source, offset),
        }
    }

    fn distrust(&self, blob: &Descriptor) -> bool {
        self.client.distrust(blob)
    }
}
