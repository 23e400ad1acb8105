//! The sources of an index: what the user wrote, and what it stands for.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use xbuild_image::{
    ContentDocument, Documents, EntryName, IndexSource, Layout, gather_entries, index_source,
};
use xbuild_model::{BlobSource, Descriptor, Digest, Platform, Reference};
use xbuild_store::ImageRecord;

use super::shelf::{Shelf, repository};
use crate::error::{ImageError, ImagesError};
use crate::import::{self, Place};

/// Bytes that a file with a source may have.
const MAX_FILE: u64 = 4 << 20;

/// The members of metadata files that name an image. **Source** — `docker buildx build` reference,
/// § --metadata-file.
const METADATA_DIGEST: &str = "containerimage.digest";
const METADATA_NAMES: &str = "image.name";

/// A place of an image.
#[derive(Debug, Clone)]
pub(super) enum PartPlace {
    Registry(Reference),
    Layout(PathBuf, Option<String>),
    Stored(Box<ImageRecord>),
}

/// A source of an index, read.
pub(super) struct Part {
    pub(super) source: IndexSource,
    pub(super) place: PartPlace,
}

impl Part {
    /// Returns whether a repository has the source already.
    pub(super) fn is_in(&self, name: &Reference) -> bool {
        match &self.place {
            PartPlace::Registry(own) => repository(own) == repository(name),
            PartPlace::Layout(..) | PartPlace::Stored(_) => false,
        }
    }
}

/// Looks up the sources of an index.
pub(super) struct Reader<'a> {
    pub(super) shelf: &'a Shelf,
    /// The name of the index: digests without a name are of its repository.
    pub(super) name: Option<&'a Reference>,
    /// Whether names are looked up in the store first.
    pub(super) stored_first: bool,
}

impl Reader<'_> {
    /// Reads what a text stands for: a name, a digest, a descriptor or a file with one of them, or a
    /// metadata file of a build. A file may stand for several. What ends in `.json` is a file; an image of
    /// such a name needs its tag.
    pub(super) fn parts(&self, text: &str) -> Result<Vec<Part>, ImagesError> {
        if text.trim_start().starts_with('{') {
            return self.json(text, "the source");
        }
        let path = Path::new(text);
        if path.extension().is_some_and(|extension| extension == "json") {
            return self.file(path);
        }
        if let Ok(digest) = text.parse::<Digest>() {
            return Ok(vec![self.digest(&digest)?]);
        }
        Ok(vec![self.part(self.place(text)?)?])
    }

    /// Reads the sources that a file names.
    pub(super) fn file(&self, path: &Path) -> Result<Vec<Part>, ImagesError> {
        let failed = |error| ImagesError::Input { path: path.to_owned(), error };
        let meta = fs::metadata(path).map_err(failed)?;
        if meta.len() > MAX_FILE {
            let reason = format!("larger than {MAX_FILE} bytes");
            return Err(ImagesError::Place { place: path.display().to_string(), reason });
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        if text.trim_start().starts_with('{') {
            return self.json(&text, &path.display().to_string());
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut parts = Vec::new();
        for line in lines {
            match line.parse::<Digest>() {
                Ok(digest) => parts.push(self.digest(&digest)?),
                Err(_) => parts.push(self.part(self.place(line)?)?),
            }
        }
        match parts.is_empty() {
            true => {
                let reason = "it names no image".to_owned();
                Err(ImagesError::Place { place: path.display().to_string(), reason })
            }
            false => Ok(parts),
        }
    }

    /// Reads a descriptor, or the metadata of builds.
    fn json(&self, text: &str, place: &str) -> Result<Vec<Part>, ImagesError> {
        let fail = |reason: String| ImagesError::Place { place: place.to_owned(), reason };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| fail(format!("not JSON: line {}", error.line())))?;
        if value.get("digest").is_some() {
            let descriptor: Descriptor = serde_json::from_value(value)
                .map_err(|error| fail(format!("not a descriptor: {error}")))?;
            return Ok(vec![self.descriptor(descriptor)?]);
        }
        // `docker buildx bake` writes an object for each target.
        let all =
            std::iter::once(&value).chain(value.as_object().into_iter().flat_map(|o| o.values()));
        let built = all.filter(|value| value.get(METADATA_DIGEST).is_some());
        let parts =
            built.map(|build| self.metadata(build, place)).collect::<Result<Vec<_>, _>>()?;
        match parts.is_empty() {
            true => {
                Err(fail(format!("it has no {METADATA_DIGEST}: not a metadata file of a build")))
            }
            false => Ok(parts),
        }
    }

    /// Reads what a metadata file says of a build: its image, by the digest, in the repository of one
    /// of its names.
    fn metadata(&self, build: &Value, place: &str) -> Result<Part, ImagesError> {
        let fail = |reason: String| ImagesError::Place { place: place.to_owned(), reason };
        let text = build[METADATA_DIGEST].as_str().unwrap_or_default();
        let digest: Digest =
            text.parse().map_err(|error| fail(format!("{METADATA_DIGEST}: {error}")))?;
        let names = build[METADATA_NAMES].as_str().unwrap_or_default();
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let names: Vec<Reference> = names.map(str::parse).collect::<Result<_, _>>()?;
        let is_ours =
            |name: &&Reference| self.name.is_some_and(|own| repository(own) == repository(name));
        match names.iter().find(is_ours).or(names.first()) {
            Some(name) => self.part(PartPlace::Registry(name.with_digest(&digest))),
            None => self.digest(&digest),
        }
    }

    /// Reads the image of a digest in the repository of the index.
    fn digest(&self, digest: &Digest) -> Result<Part, ImagesError> {
        let Some(name) = self.name else {
            let reason = "a digest alone is of the repository of the index, which has no name in a \
                          registry";
            let place = digest.to_string();
            return Err(ImagesError::Place { place, reason: reason.to_owned() });
        };
        self.part(PartPlace::Registry(name.with_digest(digest)))
    }

    /// Reads the image of a descriptor, whose platform and annotations count.
    fn descriptor(&self, descriptor: Descriptor) -> Result<Part, ImagesError> {
        let mut part = self.digest(&descriptor.digest)?;
        let root = &mut part.source.root;
        root.platform = descriptor.platform.or(root.platform.take());
        root.annotations = descriptor.annotations;
        Ok(part)
    }

    pub(super) fn place(&self, text: &str) -> Result<PartPlace, ImagesError> {
        Ok(match import::place(text)? {
            Place::Layout(path, name) => PartPlace::Layout(path, name),
            Place::Registry(reference) => PartPlace::Registry(reference),
            Place::Name(reference) => {
                let stored = match self.stored_first {
                    true => self.shelf.store.image(&reference.to_string())?,
                    false => None,
                };
                stored.map_or(PartPlace::Registry(reference), |r| PartPlace::Stored(Box::new(r)))
            }
        })
    }

    pub(super) fn part(&self, place: PartPlace) -> Result<Part, ImagesError> {
        let source = match &place {
            PartPlace::Registry(reference) => {
                let documents = self.shelf.client.documents(reference).map_err(ImageError::from)?;
                index_source(&documents).map_err(ImageError::from)?
            }
            PartPlace::Layout(path, name) => {
                let layout = Layout::open(path)?;
                index_source(&layout.documents(name.as_deref())?)?
            }
            PartPlace::Stored(record) => index_source(&self.shelf.image(record))?,
        };
        Ok(Part { source, place })
    }

    /// Reads the documents of entries of a source, and returns where each blob of them is.
    pub(super) fn documents(
        &self,
        place: &PartPlace,
        entries: &[Descriptor],
    ) -> Result<Vec<(ContentDocument, Vec<BlobSource>)>, ImagesError> {
        fn of<D: Documents>(
            documents: &D,
            entries: &[Descriptor],
            source: &dyn Fn(&Descriptor) -> BlobSource,
        ) -> Result<Vec<(ContentDocument, Vec<BlobSource>)>, D::Error> {
            let found = gather_entries(documents, entries)?;
            let places = |found: &ContentDocument| found.blobs.iter().map(source).collect();
            Ok(found
                .into_iter()
                .map(|found| {
                    let places = places(&found);
                    (found, places)
                })
                .collect())
        }
        Ok(match place {
            PartPlace::Registry(reference) => {
                let documents = self.shelf.client.documents(reference).map_err(ImageError::from)?;
                of(&documents, entries, &|_| repository(reference)).map_err(ImageError::from)?
            }
            PartPlace::Layout(path, name) => {
                let layout = Layout::open(path)?;
                let source = |_: &Descriptor| BlobSource::Layout { path: path.clone() };
                of(&layout.documents(name.as_deref())?, entries, &source)?
            }
            PartPlace::Stored(record) => {
                let image = self.shelf.image(record);
                of(&image, entries, &|blob| image.source(blob))?
            }
        })
    }

    /// Returns the entry of an index that a text names: a digest, the platform of an entry, or the
    /// name of an image.
    pub(super) fn entry(
        &self,
        text: &str,
        has: &dyn Fn(&EntryName) -> bool,
    ) -> Result<EntryName, ImagesError> {
        if let Ok(digest) = text.parse() {
            return Ok(EntryName::Digest(digest));
        }
        let platform = text.parse::<Platform>().ok().map(EntryName::Platform);
        match platform {
            Some(name) if has(&name) => return Ok(name),
            _ => {}
        }
        let place = match import::place(text) {
            Ok(_) => self.place(text)?,
            // A platform that is no name of an image is an entry that is missing.
            Err(error) => return platform.ok_or_else(|| error.into()),
        };
        if let PartPlace::Registry(reference) = &place
            && let Some(digest) = reference.digest()
        {
            return Ok(EntryName::Digest(digest.clone()));
        }
        match (self.part(place), platform) {
            (Ok(part), _) => Ok(EntryName::Digest(part.source.root.digest)),
            (Err(_), Some(platform)) => Ok(platform),
            (Err(error), None) => Err(error),
        }
    }
}
