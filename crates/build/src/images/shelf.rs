//! The images of a store, and what commands do with their names.

use std::sync::Arc;

use xbuild_model::{BlobSource, Cancel, Digest, Reference};
use xbuild_registry::Client;
use xbuild_store::{ImageRecord, NameOwner, Store};

use super::listing::{ListedImage, list};
use super::stored::{StoredImage, descriptor};
use crate::error::ImagesError;
use crate::events::Events;
use crate::machine::Machine;
use crate::wiring;

/// The images of a store, and the registries that they come from and go to.
pub struct Shelf {
    pub(super) store: Arc<Store>,
    pub(super) client: Client,
    pub(super) events: Arc<dyn Events>,
    pub(super) cancel: Cancel,
}

impl std::fmt::Debug for Shelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Shelf {
    /// Opens the store. No connection is made yet. `events` takes warnings and what is moved.
    pub fn open(machine: &Machine, events: &Arc<dyn Events>) -> Result<Self, ImagesError> {
        Ok(Self::of(wiring::store(machine, events)?, machine, events))
    }

    /// Opens the store if it is there.
    pub fn existing_store(
        machine: &Machine,
        events: &Arc<dyn Events>,
    ) -> Result<Option<Self>, ImagesError> {
        let store = wiring::existing_store(machine, events)?;
        Ok(store.map(|store| Self::of(store, machine, events)))
    }

    /// Opens the store that is to have an image of that name.
    ///
    /// **Errors** — [`ImagesError::Unknown`] if there is no store.
    pub fn with_image(
        machine: &Machine,
        events: &Arc<dyn Events>,
        name: &str,
    ) -> Result<Self, ImagesError> {
        let unknown = || ImagesError::Unknown { name: name.to_owned() };
        Self::existing_store(machine, events)?.ok_or_else(unknown)
    }

    fn of(store: Arc<Store>, machine: &Machine, events: &Arc<dyn Events>) -> Self {
        let cancel = Cancel::default();
        let client = wiring::client(machine, Some(&store), events, cancel.clone());
        Self { store, client, events: Arc::clone(events), cancel }
    }

    /// Returns all images, sorted by name.
    pub fn list(&self) -> Result<Vec<ListedImage>, ImagesError> {
        Ok(list(&self.store)?)
    }

    /// Gives an image further names.
    ///
    /// **Errors** — [`ImagesError::Unknown`], [`ImagesError::NameWithDigest`]; no name is given then.
    pub fn tag(&self, source: &str, names: &[Reference]) -> Result<(), ImagesError> {
        let record = self.find(source)?;
        refuse_digests(names)?;
        for name in names {
            let (name, owner) = (name.to_string(), NameOwner::Store);
            self.store.put_image(&ImageRecord { name, owner, ..record.clone() })?;
        }
        Ok(())
    }

    /// Takes a name from its image, or all names from the image of a digest. Returns the names. The
    /// contents stay until the store is pruned.
    ///
    /// **Errors** — [`ImagesError::Unknown`].
    pub fn remove(&self, text: &str) -> Result<Vec<String>, ImagesError> {
        let found = self.find(text)?;
        let is_named = text.parse::<Reference>().is_ok_and(|name| name.to_string() == found.name);
        let names = match is_named {
            true => vec![found.name],
            false => {
                let images = self.store.images()?.into_iter().map(|(image, _)| image);
                let same = images.filter(|image| image.target.digest == found.target.digest);
                same.map(|image| image.name).collect()
            }
        };
        for name in &names {
            self.store.remove_image(name)?;
        }
        Ok(names)
    }

    /// Returns the image of a name, of a digest, or of the first hexadecimal digits of one.
    pub(super) fn find(&self, text: &str) -> Result<ImageRecord, ImagesError> {
        let unknown = || ImagesError::Unknown { name: text.to_owned() };
        if let Ok(name) = text.parse::<Reference>()
            && let Some(record) = self.store.image(&name.to_string())?
        {
            return Ok(record);
        }
        let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
        let hex = digits(digest).ok_or_else(unknown)?;
        let mut images = self.store.images()?.into_iter().map(|(image, _)| image);
        if let Some(found) = images.find(|image| image.target.digest.hex().starts_with(hex)) {
            return Ok(found);
        }
        // An image that has no name may still be there.
        let digest: Digest = format!("sha256:{hex}").parse().map_err(|_| unknown())?;
        let target = descriptor(&self.store, &digest)?.ok_or_else(unknown)?;
        Ok(ImageRecord::new(text.to_owned(), target))
    }

    /// Returns the name, with its digest, of the image that the first hexadecimal digits of a digest stand
    /// for; `None` for any other text, and if there is none. A name of such digits counts before.
    pub fn name_of_id(&self, text: &str) -> Option<(Reference, Digest)> {
        digits(text)?;
        let record = self.find(text).ok()?;
        Some((record.name.parse().ok()?, record.target.digest))
    }

    /// Returns the documents of an image; what the store lacks is fetched.
    pub(super) fn image<'a>(&'a self, record: &'a ImageRecord) -> StoredImage<'a> {
        StoredImage { store: &self.store, record, client: Some(&self.client) }
    }
}

/// Refuses names with digests: only contents have these.
pub(super) fn refuse_digests(names: &[Reference]) -> Result<(), ImagesError> {
    match names.iter().find(|name| name.digest().is_some()) {
        Some(name) => Err(ImagesError::NameWithDigest { name: name.to_string() }),
        None => Ok(()),
    }
}

/// Returns the place of a repository.
pub(super) fn repository(name: &Reference) -> BlobSource {
    BlobSource::Registry {
        registry: name.registry().to_owned(),
        repository: name.repository().to_owned(),
    }
}

/// Returns the digits of a digest, or the first ones, if a text has enough of them.
fn digits(text: &str) -> Option<&str> {
    /// Fewer are too easily those of another image.
    const LEAST: usize = 7;
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    (hex.len() >= LEAST && hex.chars().all(|c| c.is_ascii_hexdigit())).then_some(hex)
}
