//! An image of the store as documents: from the store, and from where the image came if the store
//! does not have them.

use std::io::Read as _;

use bytes::Bytes;
use xbuild_image::document::{MAX_CONFIG, MAX_MANIFEST, check_bytes, check_limit};
use xbuild_image::{Document, DocumentError, Documents, ResolveError};
use xbuild_model::{BlobSource, Descriptor, Digest, Platform, Reference, ResolvedImage};
use xbuild_registry::{Client, PullError};
use xbuild_store::{ImageRecord, Store};

use crate::error::ImageError;

/// Returns the descriptor of a manifest or index of the store; `None` if there is none with that
/// digest.
pub(super) fn descriptor(store: &Store, digest: &Digest) -> Result<Option<Descriptor>, ImageError> {
    let Some(file) = store.open_sound(digest)? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = file.take(MAX_MANIFEST + 1).read_to_end(&mut bytes);
    read.map_err(|error| ImageError::Read { digest: digest.clone(), error })?;
    let found = Document::parse(None, &bytes).ok();
    Ok(found.map(|(_, media_type)| Descriptor::of(media_type.as_ref(), &bytes)))
}

/// An image of the store.
pub(crate) struct StoredImage<'a> {
    pub(crate) store: &'a Store,
    pub(crate) record: &'a ImageRecord,
    /// Fetches what the store does not have; `None` if nothing may be fetched.
    pub(crate) client: Option<&'a Client>,
}

impl StoredImage<'_> {
    /// Returns the image for a platform; `None` if it is for other platforms, or if a part of it is
    /// neither in the store nor known to be elsewhere.
    pub(crate) fn resolve(&self, platform: &Platform) -> Result<Option<ResolvedImage>, ImageError> {
        let mut image = match xbuild_image::resolve(self, platform) {
            Err(error) if Self::is_of_document(&error) => return Ok(None),
            image => image?,
        };
        // An image without an index is found for any platform.
        if !platform.accepted().contains(&image.platform) {
            return Ok(None);
        }
        for layer in &mut image.layers {
            layer.source = self.source(&layer.descriptor);
            let is_here = self.store.has_blob(&layer.descriptor)
                || self.store.layer(&layer.diff_id)?.is_some();
            if !is_here && layer.source == BlobSource::Store {
                return Ok(None);
            }
        }
        Ok(Some(image))
    }

    /// Returns where else a blob is; the store if nowhere, or if nothing may be fetched.
    pub(crate) fn source(&self, blob: &Descriptor) -> BlobSource {
        let origin = self.client.and_then(|_| self.record.origin_of(&blob.digest));
        origin.cloned().unwrap_or(BlobSource::Store)
    }

    /// Returns a document of the store; `None` if it is not there.
    fn stored(
        &self,
        what: &'static str,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Option<Bytes>, ImageError> {
        let invalid = |source: DocumentError| ResolveError::Document {
            name: self.record.name.clone(),
            what,
            digest: descriptor.digest.clone(),
            source: Box::new(source),
        };
        check_limit(descriptor, limit).map_err(invalid)?;
        let Some(file) = self.store.open_sound(&descriptor.digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let read = file.take(limit).read_to_end(&mut bytes);
        read.map_err(|error| ImageError::Read { digest: descriptor.digest.clone(), error })?;
        check_bytes(descriptor, &bytes).map_err(invalid)?;
        Ok(Some(bytes.into()))
    }

    /// Does `fetch` with the documents of the repository that the image came from.
    fn fetched(
        &self,
        descriptor: &Descriptor,
        fetch: impl FnOnce(&Client, &Reference) -> Result<Bytes, PullError>,
    ) -> Result<Bytes, ImageError> {
        let absent = || ImageError::NotStored {
            name: self.record.name.clone(),
            digest: descriptor.digest.clone(),
        };
        let client = self.client.ok_or_else(absent)?;
        let Some(BlobSource::Registry { registry, repository }) = &self.record.origin else {
            return Err(absent());
        };
        let reference = format!("{registry}/{repository}@{}", descriptor.digest).parse()?;
        let bytes = fetch(client, &reference)?;
        self.store.put_blob(&bytes)?;
        Ok(bytes)
    }
}

impl Documents for StoredImage<'_> {
    type Error = ImageError;

    fn name(&self) -> &str {
        &self.record.name
    }

    fn blob_source(&self) -> BlobSource {
        self.record.origin.clone().unwrap_or(BlobSource::Store)
    }

    fn root(&self) -> Result<(Descriptor, Bytes), ImageError> {
        let target = &self.record.target;
        Ok((target.clone(), self.manifest(target)?))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, ImageError> {
        match self.stored("manifest", descriptor, MAX_MANIFEST)? {
            Some(bytes) => Ok(bytes),
            None => self.fetched(descriptor, |client, reference| {
                client.documents(reference)?.manifest(descriptor)
            }),
        }
    }

    fn config(&self, descriptor: &Descriptor) -> Result<Bytes, ImageError> {
        match self.stored("configuration", descriptor, MAX_CONFIG)? {
            Some(bytes) => Ok(bytes),
            None => self.fetched(descriptor, |client, reference| {
                client.documents(reference)?.config(descriptor)
            }),
        }
    }

    fn is_of_document(error: &ImageError) -> bool {
        match error {
            ImageError::Image(_) | ImageError::NotStored { .. } => true,
            ImageError::Registry(error) => error.is_of_document(),
            _ => false,
        }
    }
}
