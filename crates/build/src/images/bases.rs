//! From a name to an image: in the store, or in a registry.

use xbuild_image::{Documents as _, Layout};
use xbuild_model::{BlobSource, Descriptor, Platform, Reference, ResolvedImage};
use xbuild_registry::Client;
use xbuild_store::{ImageRecord, NameOwner, Store};

use super::stored::{StoredImage, descriptor};
use crate::error::ImageError;
use crate::events::{Event, Events};
use crate::import::{Place, place};
use crate::request::Pull;
use crate::sources::Gate;

/// Looks up images by their names.
pub(crate) struct Bases<'a> {
    pub(crate) client: &'a Client,
    /// The store, if there is one.
    pub(crate) store: Option<&'a Store>,
    pub(crate) pull: Pull,
    /// The gate that names pass.
    pub(crate) gate: Option<&'a Gate>,
    pub(crate) events: &'a dyn Events,
}

impl Bases<'_> {
    /// Returns the image that a name stands for, for a platform.
    pub(crate) fn resolve(
        &self,
        name: &str,
        platform: &Platform,
    ) -> Result<ResolvedImage, ImageError> {
        let Some(gate) = self.gate else { return self.find(name, platform) };
        let image = self.find(&gate.image(name)?, platform)?;
        gate.saw(name, &image.root);
        Ok(image)
    }

    fn find(&self, name: &str, platform: &Platform) -> Result<ResolvedImage, ImageError> {
        match (place(name)?, self.store) {
            (Place::Layout(path, tag), _) => {
                Ok(Layout::open(&path)?.resolve(tag.as_deref(), platform)?)
            }
            (Place::Name(reference), Some(store)) => self.named(store, &reference, platform),
            (Place::Name(reference) | Place::Registry(reference), _) => {
                Ok(self.client.resolve(&reference, platform)?)
            }
        }
    }

    fn named(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, ImageError> {
        let own = store.image(&reference.to_string())?;
        let found = match self.candidate(store, reference, own.as_ref())? {
            Some(record) => self.stored(store, &record, platform)?,
            None => None,
        };
        let (image, is_stored) = match found {
            Some(image) => (image, true),
            None if self.pull == Pull::Never => {
                let (name, platform) = (reference.to_string(), platform.clone());
                return Err(ImageError::Absent { name, platform });
            }
            None => {
                let asked = self.ask(store, reference, platform);
                let asked =
                    asked.map_err(|error| self.unreached(error, store, reference, platform));
                (asked.map_err(|error| also_stored(error, own.as_ref(), platform))?, false)
            }
        };
        if own.is_some() || is_stored {
            self.events.event(Event::Base { image: &image, is_stored });
        }
        Ok(image)
    }

    /// Adds to the error of a registry out of reach that the store has what the name stood for.
    fn unreached(
        &self,
        error: ImageError,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
    ) -> ImageError {
        let has = || {
            let name = reference.to_string();
            let record = store.image(&name).ok().flatten().or(store.tag(&name).ok().flatten());
            record.is_some_and(|record| {
                let image = StoredImage { store, record: &record, client: None };
                xbuild_image::resolve(&image, platform).is_ok()
            })
        };
        match error {
            ImageError::Registry(error) if error.is_retryable() && has() => {
                ImageError::Unreached(error)
            }
            error => error,
        }
    }

    /// Returns the record that counts before the registry is asked.
    fn candidate(
        &self,
        store: &Store,
        reference: &Reference,
        own: Option<&ImageRecord>,
    ) -> Result<Option<ImageRecord>, ImageError> {
        let is_own = |record: &&ImageRecord| record.owner == NameOwner::Store;
        match self.pull {
            Pull::Always => Ok(None),
            Pull::Default => Ok(own.filter(is_own).cloned()),
            Pull::Missing | Pull::Never => match (own, reference.digest()) {
                (Some(record), _) => Ok(Some(record.clone())),
                (None, None) => Ok(store.tag(&reference.to_string())?),
                // A digest names the same everywhere; the client looks into the store for it.
                (None, Some(_)) if self.pull == Pull::Missing => Ok(None),
                (None, Some(digest)) => {
                    let target = descriptor(store, digest)?;
                    Ok(target.map(|target| ImageRecord::new(reference.to_string(), target)))
                }
            },
        }
    }

    fn stored(
        &self,
        store: &Store,
        record: &ImageRecord,
        platform: &Platform,
    ) -> Result<Option<ResolvedImage>, ImageError> {
        // A part that the store lacks may be fetched, but the name is not looked up.
        let client = (self.pull != Pull::Never).then_some(self.client);
        StoredImage { store, record, client }.resolve(platform)
    }

    /// Asks the registry, and remembers what a tag names.
    fn ask(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<ResolvedImage, ImageError> {
        let documents = self.client.documents(reference)?;
        let image = xbuild_image::resolve(&documents, platform)?;
        if reference.digest().is_none() {
            store.put_tag(&pulled(reference, documents.root()?.0))?;
        }
        Ok(image)
    }
}

/// Returns the record of an image that a registry has under its name.
pub(crate) fn pulled(reference: &Reference, target: Descriptor) -> ImageRecord {
    let (registry, repository) = (reference.registry(), reference.repository());
    let origin =
        BlobSource::Registry { registry: registry.to_owned(), repository: repository.to_owned() };
    ImageRecord {
        owner: NameOwner::Registry,
        origin: Some(origin),
        ..ImageRecord::new(reference.to_string(), target)
    }
}

/// Adds to an error that the store has an image of the name, which is not for the platform.
fn also_stored(error: ImageError, own: Option<&ImageRecord>, platform: &Platform) -> ImageError {
    match own.filter(|record| record.owner == NameOwner::Store) {
        Some(record) => ImageError::OtherPlatform {
            name: record.name.clone(),
            platform: platform.clone(),
            source: Box::new(error),
        },
        None => error,
    }
}
