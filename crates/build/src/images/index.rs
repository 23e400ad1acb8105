//! Indexes made of images that exist, and changed. Manifests are never rewritten.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use xbuild_image::{
    BlobPlace, Built, Content, ContentDocument, Draft, EntryAnnotation, EntryChange, NamedContent,
    index_source,
};
use xbuild_model::{BlobSource, Descriptor, Digest, Index, Platform, Reference, StepFailure};
use xbuild_registry::{Push, PushEvent};
use xbuild_store::{ImageRecord, NameOwner};

use super::parts::{Part, PartPlace, Reader};
use super::shelf::{Shelf, refuse_digests};
use crate::error::{During, ImageError, ImagesError};
use crate::request::Annotations;
use crate::transfers::Pushes;

/// A place that an index goes to, or is changed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexPlace {
    /// A tag of a registry.
    Registry(Reference),
    /// An OCI layout in a folder, and a tag in it.
    Layout(PathBuf, Option<String>),
    /// A name of the store.
    Stored(Reference),
}

/// An index to put together.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexRequest {
    /// Where it goes.
    pub places: Vec<IndexPlace>,
    /// The sources, as the user wrote them: names of images, digests in the repository of the first
    /// place, descriptors, and files with one of them or with the metadata of a build.
    pub sources: Vec<String>,
    /// Files with sources, whatever their names.
    pub files: Vec<PathBuf>,
    /// Whether the sources are added to what the first place has.
    pub append: bool,
    /// The only platforms; empty for all.
    pub platforms: Vec<Platform>,
    /// Annotations of the index and of its entries.
    pub annotations: Annotations,
    /// Whether a single manifest becomes an index.
    pub prefer_index: bool,
}

/// A change of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexChange {
    /// Entries are removed: digests, platforms or names of images.
    Remove(Vec<String>),
    /// An entry is changed.
    Entry(String, EntryChange),
    /// The index gets annotations.
    Annotate(BTreeMap<String, String>),
}

/// An index that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexMade {
    /// Its descriptor; of a manifest, if a single one was not to become an index.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Documents below an index, and where their blobs are.
struct Below {
    documents: Vec<ContentDocument>,
    places: HashMap<Digest, BlobSource>,
}

impl Below {
    /// Adds documents, each with the places of its blobs.
    fn add(&mut self, found: Vec<(ContentDocument, Vec<BlobSource>)>) {
        for (document, places) in found {
            let blobs = document.blobs.iter().map(|blob| blob.digest.clone());
            self.places.extend(blobs.zip(places));
            self.documents.push(document);
        }
    }
}

impl Shelf {
    /// Puts an index together and brings it to its places, with what they lack of it. No place is
    /// touched if `is_trial`.
    pub fn create_index(
        &self,
        request: &IndexRequest,
        is_trial: bool,
    ) -> Result<IndexMade, ImagesError> {
        let reader = self.reader(request.places.first());
        let mut parts = Vec::new();
        for source in &request.sources {
            parts.extend(reader.parts(source)?);
        }
        for file in &request.files {
            parts.extend(reader.file(file)?);
        }
        let existing = match (request.append, request.places.first()) {
            (true, Some(place)) => Some(self.existing(place)?),
            _ => None,
        };
        let made = assemble(request, existing.as_ref(), &parts)?;
        if !is_trial {
            let all: Vec<&Part> = existing.iter().chain(&parts).collect();
            for place in &request.places {
                self.publish(place, &made, &all)?;
            }
            self.store.settle()?;
        }
        Ok(made)
    }

    /// Changes an index where it is.
    pub fn change_index(
        &self,
        place: &IndexPlace,
        changes: &[IndexChange],
    ) -> Result<IndexMade, ImagesError> {
        let reader = self.reader(Some(place));
        let existing = self.existing(place)?;
        let mut draft = Draft::edit(&existing.source)?;
        for change in changes {
            match change {
                IndexChange::Remove(entries) => {
                    for text in entries {
                        let name = reader.entry(text, &|name| draft.has(name))?;
                        draft.remove(&name)?;
                    }
                }
                IndexChange::Entry(text, change) => {
                    let name = reader.entry(text, &|name| draft.has(name))?;
                    draft.change(&name, change)?;
                }
                IndexChange::Annotate(annotations) => draft.annotate(annotations),
            }
        }
        // As for buildah and podman, a list of the store may be empty until something is added. What others
        // pull by its name may not.
        let finished = match place {
            IndexPlace::Stored(_) => draft.finish_list(),
            IndexPlace::Registry(_) | IndexPlace::Layout(..) => draft.finish(),
        };
        let (descriptor, bytes) = finished?;
        let made = IndexMade { descriptor, bytes };
        self.publish(place, &made, &[&existing])?;
        self.store.settle()?;
        Ok(made)
    }

    /// Returns whether the store has an image of that name.
    pub fn has(&self, name: &Reference) -> Result<bool, ImagesError> {
        Ok(self.store.image(&name.to_string())?.is_some())
    }

    pub(super) fn reader<'a>(&'a self, place: Option<&'a IndexPlace>) -> Reader<'a> {
        let name = match place {
            Some(IndexPlace::Registry(name) | IndexPlace::Stored(name)) => Some(name),
            _ => None,
        };
        let stored_first = matches!(place, Some(IndexPlace::Stored(_)));
        Reader { shelf: self, name, stored_first }
    }

    /// Reads what a place has.
    pub(super) fn existing(&self, place: &IndexPlace) -> Result<Part, ImagesError> {
        let reader = self.reader(Some(place));
        match place {
            IndexPlace::Registry(name) => {
                let documents = self.client.own_documents(name).map_err(ImageError::from)?;
                let source = index_source(&documents).map_err(ImageError::from)?;
                Ok(Part { source, place: PartPlace::Registry(name.clone()) })
            }
            IndexPlace::Layout(path, tag) => {
                reader.part(PartPlace::Layout(path.clone(), tag.clone()))
            }
            IndexPlace::Stored(name) => match self.store.image(&name.to_string())? {
                Some(record) => reader.part(PartPlace::Stored(Box::new(record))),
                None => Err(ImagesError::Unknown { name: name.to_string() }),
            },
        }
    }

    pub(super) fn publish(
        &self,
        place: &IndexPlace,
        made: &IndexMade,
        parts: &[&Part],
    ) -> Result<(), ImagesError> {
        match place {
            IndexPlace::Registry(name) => {
                let below = self.below(made, parts, &|part| part.is_in(name))?;
                self.push_index(name, &self.joined(made, below))
            }
            IndexPlace::Layout(path, tag) => {
                let is_there =
                    |part: &Part| matches!(&part.place, PartPlace::Layout(own, _) if own == path);
                let built = self.joined(made, self.below(made, parts, &is_there)?);
                let content = NamedContent { built: &built, names: &[], tag: tag.as_deref() };
                Ok(content.alone().write_folder(path)?)
            }
            IndexPlace::Stored(name) => self.keep_index(name, made, parts),
        }
    }

    /// Reads what is below an index, but for the parts that are there already.
    fn below(
        &self,
        made: &IndexMade,
        parts: &[&Part],
        is_there: &dyn Fn(&Part) -> bool,
    ) -> Result<Below, ImagesError> {
        let index: Index = serde_json::from_slice(&made.bytes).unwrap_or_else(|_| empty());
        let reader = self.reader(None);
        let mut below = Below { documents: Vec::new(), places: HashMap::new() };
        let mut wanted: HashSet<Digest> =
            index.manifests.iter().map(|e| e.digest.clone()).collect();
        for part in parts.iter().filter(|part| is_there(part)) {
            for entry in part.entries() {
                wanted.remove(&entry.digest);
            }
        }
        for part in parts {
            let mut entries = part.entries();
            entries.retain(|entry| wanted.remove(&entry.digest));
            below.add(reader.documents(&part.place, &entries)?);
        }
        // A single manifest that stays one names its blobs itself.
        if made.is_manifest() && !is_there(parts[0]) {
            let entries = std::slice::from_ref(&made.descriptor);
            below.add(reader.documents(&parts[0].place, entries)?);
        }
        Ok(below)
    }

    fn joined(&self, made: &IndexMade, below: Below) -> Built<'_> {
        let Below { documents, places } = below;
        let place = |(digest, source): (Digest, BlobSource)| match source {
            BlobSource::Store => (digest, BlobPlace::Stored(None)),
            source => (digest, BlobPlace::Remote(source)),
        };
        let places = places.into_iter().map(place).collect();
        let content = Content::of_index(documents, made.descriptor.clone(), made.bytes.clone());
        let stored = |digest: &Digest| Ok(self.store.open_sound(digest)?);
        Built::of(content, places, stored, &self.client)
    }

    fn push_index(&self, name: &Reference, built: &Built<'_>) -> Result<(), ImagesError> {
        refuse_digests(std::slice::from_ref(name))?;
        let pushes = Pushes::new(&self.events);
        let progress = |event: PushEvent<'_>| pushes.event(event);
        let targets = std::slice::from_ref(name);
        let push = Push { targets, by_digest: false, built, progress: &progress };
        let pushed = self.client.push(&push).map_err(StepFailure::from);
        pushed.map_err(During::new("pushing")).map_err(ImagesError::Stage)
    }

    /// Keeps an index in the store under a name. Layers stay in the registries that have them.
    fn keep_index(
        &self,
        name: &Reference,
        made: &IndexMade,
        parts: &[&Part],
    ) -> Result<(), ImagesError> {
        refuse_digests(std::slice::from_ref(name))?;
        let below = self.below(made, parts, &|_| false)?;
        for document in &below.documents {
            self.store.put_blob(&document.bytes)?;
            for (number, blob) in document.blobs.iter().enumerate() {
                let source = below.places.get(&blob.digest).unwrap_or(&BlobSource::Store);
                // The folder of a layout may be gone later. Configurations are small, and looked at.
                let is_config = number + 1 == document.blobs.len();
                let is_fetched = is_config || matches!(source, BlobSource::Layout { .. });
                if is_fetched && !self.store.has_blob(blob) {
                    self.fetch(blob, source)?;
                }
            }
        }
        self.store.put_blob(&made.bytes)?;
        let is_elsewhere = |source: &BlobSource| matches!(source, BlobSource::Registry { .. });
        let layers = below.places.into_iter().filter(|(_, source)| is_elsewhere(source));
        let record = ImageRecord {
            owner: NameOwner::Store,
            layers: layers.collect(),
            ..ImageRecord::new(name.to_string(), made.descriptor.clone())
        };
        Ok(self.store.put_image(&record)?)
    }
}

impl IndexMade {
    fn is_manifest(&self) -> bool {
        let index = serde_json::from_slice::<serde_json::Value>(&self.bytes);
        index.is_ok_and(|index| index.get("manifests").is_none())
    }
}

impl Part {
    fn entries(&self) -> Vec<Descriptor> {
        match &self.source.index {
            Some(index) => index.manifests.clone(),
            None => vec![self.source.root.clone()],
        }
    }
}

fn empty() -> Index {
    serde_json::from_str("{}").expect("all members of an index may be missing")
}

/// Puts the documents together. A single source of which nothing is changed stays as it is.
fn assemble(
    request: &IndexRequest,
    existing: Option<&Part>,
    parts: &[Part],
) -> Result<IndexMade, ImagesError> {
    let annotations = &request.annotations;
    let is_plain = request.platforms.is_empty() && !annotations.need_index();
    if let ([part], None, true) = (parts, existing, is_plain)
        && (part.source.index.is_some() || !request.prefer_index)
    {
        let source = &part.source;
        return Ok(IndexMade { descriptor: source.root.clone(), bytes: source.bytes.clone() });
    }
    let mut draft = match existing {
        Some(existing) => Draft::edit(&existing.source)?,
        None => Draft::default(),
    };
    for part in parts {
        draft.add(&part.source)?;
    }
    if !request.platforms.is_empty() {
        draft.keep(&request.platforms)?;
    }
    draft.annotate(&annotations.index);
    for annotation in &annotations.descriptors {
        draft.annotate_entries(&EntryAnnotation {
            platform: annotation.platform.clone(),
            name: annotation.name.clone(),
            value: annotation.value.clone(),
        })?;
    }
    let (descriptor, bytes) = draft.finish()?;
    Ok(IndexMade { descriptor, bytes })
}
