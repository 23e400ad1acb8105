//! Moving images as they are: no byte of what has a digest changes.

use std::collections::HashMap;
use std::io;

use xbuild_image::parallel::for_each;
use xbuild_image::{BlobPlace, Built, Content, Documents, gather};
use xbuild_model::seam::Blobs as _;
use xbuild_model::transfer::{Direction, Metered, Moving, Transfer};
use xbuild_model::{
    BlobSource, Descriptor, Digest, FailureKind, Platform, Reference, StepFailure, WrongBytes,
};
use xbuild_registry::{Push, PushEvent};
use xbuild_store::{ImageRecord, StoreError};

use super::bases::pulled;
use super::shelf::{Shelf, refuse_digests, repository};
use crate::error::{During, ImageError, ImagesError};
use crate::transfers::{Pushes, told};

/// Blobs that are fetched at a time.
const JOBS: usize = 4;

impl Shelf {
    /// Pulls an image for platforms, for all of them if there are none, and gives it its name.
    /// Returns the digest of its manifest or index.
    pub fn pull(&self, name: &Reference, platforms: &[Platform]) -> Result<Digest, ImagesError> {
        let documents = self.client.documents(name).map_err(ImageError::from)?;
        let content = gather(&documents, platforms).map_err(ImageError::from)?;
        let (root, bytes) = documents.root().map_err(ImageError::from)?;
        self.store.put_blob(&bytes)?;
        self.take(&content, &|_| repository(name))?;
        self.store.put_image(&pulled(name, root.clone()))?;
        self.store.settle()?;
        Ok(root.digest)
    }

    /// Pushes an image of the store for platforms, or for all if there are none, under a name, or else
    /// its own. Returns the name, and the digest of what was pushed.
    pub fn push(
        &self,
        source: &str,
        target: Option<&Reference>,
        platforms: &[Platform],
    ) -> Result<(Reference, Digest), ImagesError> {
        let record = self.find(source)?;
        let target = match target {
            Some(target) => target.clone(),
            None => record.name.parse()?,
        };
        let content = gather(&self.image(&record), platforms)?;
        let built = self.built(content, &|blob| self.image(&record).source(blob));
        let digest = self.send(&built, &target)?;
        Ok((target, digest))
    }

    /// Pushes images.
    pub(super) fn send(
        &self,
        built: &Built<'_>,
        target: &Reference,
    ) -> Result<Digest, ImagesError> {
        refuse_digests(std::slice::from_ref(target))?;
        let pushes = Pushes::new(&self.events);
        let progress = |event: PushEvent<'_>| pushes.event(event);
        let targets = std::slice::from_ref(target);
        let push = Push { targets, by_digest: false, built, progress: &progress };
        let pushed = self.client.push(&push).map_err(StepFailure::from);
        pushed.map_err(During::new("pushing")).map_err(ImagesError::Stage)?;
        Ok(built.content.root().descriptor.digest.clone())
    }

    /// Joins documents with their blobs: in the store, or at `source`.
    pub(super) fn built(
        &self,
        content: Content,
        source: &dyn Fn(&Descriptor) -> BlobSource,
    ) -> Built<'_> {
        let place = |blob: &Descriptor| match (self.store.has_blob(blob), source(blob)) {
            (true, BlobSource::Store) => BlobPlace::Stored(None),
            (true, source) => BlobPlace::Stored(Some(source)),
            (false, source) => BlobPlace::Remote(source),
        };
        let blobs = content.blobs();
        let places: HashMap<Digest, BlobPlace> =
            blobs.into_iter().map(|blob| (blob.digest.clone(), place(blob))).collect();
        let stored = |digest: &Digest| Ok(self.store.open_sound(digest)?);
        Built::of(content, places, stored, &self.client)
    }

    /// Takes documents and blobs into the store.
    pub(super) fn take(
        &self,
        content: &Content,
        source: &(dyn Fn(&Descriptor) -> BlobSource + Sync),
    ) -> Result<(), ImagesError> {
        for document in content.documents() {
            self.store.put_blob(&document.bytes)?;
        }
        let mut blobs = content.blobs();
        blobs.retain(|blob| !self.store.has_blob(blob));
        // Largest first: no thread is left alone with a large blob at the end.
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        for_each(JOBS, &blobs, |blob| self.fetch(blob, &source(blob)))
    }

    /// Fetches a blob, once more if other bytes came than announced: a proxy may have changed some.
    /// Bytes of mirrors do not count, as the next place is asked after them.
    pub(super) fn fetch(&self, blob: &Descriptor, source: &BlobSource) -> Result<(), ImagesError> {
        let mut is_second = false;
        loop {
            match self.fetch_once(blob, source) {
                Ok(()) => return Ok(()),
                Err(FetchError::Store(StoreError::Mismatch { .. })) => {}
                Err(FetchError::Store(error)) => return Err(error.into()),
                Err(FetchError::Source(failure)) => return Err(fetching(failure)),
            }
            if !self.client.distrust(blob) && std::mem::replace(&mut is_second, true) {
                let wrong = WrongBytes::new(blob, source);
                return Err(fetching(StepFailure::new(wrong.kind, wrong)));
            }
        }
    }

    fn fetch_once(&self, blob: &Descriptor, source: &BlobSource) -> Result<(), FetchError> {
        let lock = self.store.lock_pull(&blob.digest, &self.cancel).map_err(FetchError::Store)?;
        // Another process may have been faster.
        if self.store.has_blob(blob) {
            return Ok(());
        }
        let moving = self.moving(blob, source);
        let read = self.client.open(blob, source, 0).map_err(FetchError::Source)?;
        let read = Metered::new(read, moving);
        // One byte more than announced shows that the blob is wrong.
        let mut read = io::Read::take(read, blob.size.saturating_add(1));
        let mut writer = self.store.blob_writer().map_err(FetchError::Store)?;
        writer.hold(lock);
        let copied = io::copy(&mut read, &mut writer);
        copied.map_err(|error| FetchError::Source(StepFailure::new(FailureKind::Remote, error)))?;
        let written = writer.commit(Some((&blob.digest, blob.size)));
        written.map(drop).map_err(FetchError::Store)
    }
}

impl Shelf {
    /// Begins the transfer of a blob from a registry.
    fn moving(&self, blob: &Descriptor, source: &BlobSource) -> Option<Moving> {
        let BlobSource::Registry { registry, repository } = source else { return None };
        let place = format!("{registry}/{repository}");
        let known = (blob.digest.clone(), blob.size);
        let transfer = Transfer::new(Direction::Pull, place, Some(known));
        Some(Moving::begin(transfer, told(&self.events)))
    }

    /// Gives an image a name of the store's. All its blobs are in the store.
    pub(super) fn name(&self, name: &Reference, target: &Descriptor) -> Result<(), ImagesError> {
        refuse_digests(std::slice::from_ref(name))?;
        let target = Descriptor { annotations: Default::default(), ..target.clone() };
        self.store.put_image(&ImageRecord::new(name.to_string(), target))?;
        Ok(self.store.settle()?)
    }
}

enum FetchError {
    Source(StepFailure),
    Store(StoreError),
}

fn fetching(failure: StepFailure) -> ImagesError {
    ImagesError::Stage(During::new("fetching")(failure))
}
