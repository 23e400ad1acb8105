//! Adding to lists of the store as `buildah manifest` and `podman manifest` do: a list may be empty,
//! and of an index one image is added unless all are asked for.
//!
//! **Source** — `buildah-manifest-add(1)`, `buildah-manifest-create(1)`.

use xbuild_image::{Draft, EntryChange, IndexSource};
use xbuild_model::{Descriptor, Index, Platform, Reference};
use xbuild_store::{ImageRecord, NameOwner};

use super::index::{IndexMade, IndexPlace};
use super::parts::Part;
use super::shelf::{Shelf, refuse_digests};
use crate::error::ImagesError;

impl Shelf {
    /// Gives an empty list a name in the store.
    pub fn create_list(&self, name: &Reference) -> Result<IndexMade, ImagesError> {
        refuse_digests(std::slice::from_ref(name))?;
        let (descriptor, bytes) = Draft::empty();
        self.store.put_blob(&bytes)?;
        let owner = NameOwner::Store;
        let record =
            ImageRecord { owner, ..ImageRecord::new(name.to_string(), descriptor.clone()) };
        self.store.put_image(&record)?;
        self.store.settle()?;
        Ok(IndexMade { descriptor, bytes })
    }

    /// Adds images to an index where it is. Of a source that is an index, the image for the platform
    /// of `change` is added, where it names none that of this machine; or `all`. The entry gets the
    /// annotations; that of a single manifest gets the platform, too.
    pub fn add_to_index(
        &self,
        place: &IndexPlace,
        sources: &[String],
        all: bool,
        change: &EntryChange,
    ) -> Result<IndexMade, ImagesError> {
        let reader = self.reader(Some(place));
        let existing = self.existing(place)?;
        let mut parts = Vec::new();
        for source in sources {
            parts.extend(reader.parts(source)?);
        }
        let mut draft = Draft::edit(&existing.source)?;
        for part in &parts {
            draft.add(&changed(&part.source, all, change)?)?;
        }
        let (descriptor, bytes) = draft.finish()?;
        let made = IndexMade { descriptor, bytes };
        let all: Vec<&Part> = std::iter::once(&existing).chain(&parts).collect();
        self.publish(place, &made, &all)?;
        self.store.settle()?;
        Ok(made)
    }
}

/// Returns what is added of a source.
fn changed(
    given: &IndexSource,
    all: bool,
    change: &EntryChange,
) -> Result<IndexSource, ImagesError> {
    let mut source = given.clone();
    let Some(index) = &mut source.index else {
        change.apply(&mut source.root);
        return Ok(source);
    };
    if !all {
        let mut wanted = Descriptor::of("", b"");
        wanted.platform = Some(Platform::host().to_descriptor());
        change.apply(&mut wanted);
        let wanted = Platform::of_descriptor(&wanted.platform.unwrap_or_default());
        let mut draft = Draft::default();
        draft.add(given)?;
        draft.keep(&[wanted])?;
        let (_, bytes) = draft.finish()?;
        let kept: Index = serde_json::from_slice(&bytes).expect("it was written by a draft");
        *index = kept;
    }
    let annotations = EntryChange { annotations: change.annotations.clone(), ..Default::default() };
    index.manifests.iter_mut().for_each(|entry| annotations.apply(entry));
    Ok(source)
}
