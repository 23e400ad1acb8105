//! From a reference to the image for a platform: manifest and configuration.
//!
//! **Source** — OCI image-spec `image-index.md`; containerd's platform matching.

use bytes::Bytes;
use xbuild_model::{
    BlobSource, Descriptor, ImageConfig, ImageLayer, Index, Manifest, Platform, ResolvedImage,
};

use crate::attestation::TYPE;
use crate::document::{Document, is_image, is_index, is_manifest, parse_config};
use crate::error::{DocumentError, ResolveError};

/// Depth of nested indexes: the root, and the indexes that it names.
const MAX_NESTING: usize = 2;
/// Manifests that are read because their index entry names no platform. An index of 4 MiB could
/// name thousands.
const MAX_UNNAMED: usize = 16;

/// The documents of an image in a repository or a layout. Implementations check size and digest of
/// each document.
pub trait Documents {
    /// The error of reading and resolving.
    type Error: From<ResolveError>;

    /// Returns the name of the image, for display.
    fn name(&self) -> &str;

    /// Returns the place of the image's blobs.
    fn blob_source(&self) -> BlobSource;

    /// Returns the manifest or index that the name stands for. The media type of the descriptor is
    /// the one found in the document.
    fn root(&self) -> Result<(Descriptor, Bytes), Self::Error>;

    /// Returns a manifest or index.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Bytes, Self::Error>;

    /// Returns a configuration.
    fn config(&self, descriptor: &Descriptor) -> Result<Bytes, Self::Error>;

    /// Returns whether an error is about one document, which is missing or not valid. The other
    /// documents can be read all the same.
    fn is_of_document(error: &Self::Error) -> bool;
}

/// Resolves the root of `documents` for a platform.
///
/// An index must have an image that runs on the platform. An image without an index is returned
/// even if its platform is another one; the result names it. The platform of an index entry counts,
/// also if the configuration names another one.
///
/// Entries that cannot be used do not spoil the others. Those without a platform, and nested indexes,
/// are read only if no entry with a platform will do.
pub fn resolve<D: Documents>(
    documents: &D,
    platform: &Platform,
) -> Result<ResolvedImage, D::Error> {
    let (root, bytes) = documents.root()?;
    let digest = root.digest.clone();
    let image = resolve_in(documents, root, &bytes, platform)?;
    Ok(ResolvedImage { root: digest, ..image })
}

/// Resolves an image from its root.
fn resolve_in<D: Documents>(
    documents: &D,
    root: Descriptor,
    bytes: &Bytes,
    platform: &Platform,
) -> Result<ResolvedImage, D::Error> {
    match parse(documents, &root, bytes)? {
        Document::Manifest(manifest) => {
            let config = config(documents, &root, &manifest)?;
            let platform = platform_of(&config).unwrap_or_else(|| platform.clone());
            Ok(image(documents, root, manifest, config, platform))
        }
        Document::Index(index) => {
            let mut candidates: Vec<Candidate> = index.manifests.iter().filter_map(named).collect();
            match choose(documents, &candidates, platform) {
                Ok(Some(image)) => return Ok(image),
                Ok(None) => {}
                // An entry without a platform may do instead.
                Err(error) if D::is_of_document(&error) => {}
                Err(error) => return Err(error),
            }
            let mut unread = None;
            collect(documents, &index, 1, &mut candidates, &mut unread)?;
            if let Some(image) = choose(documents, &candidates, platform)? {
                return Ok(image);
            }
            match unread.filter(|_| candidates.is_empty()) {
                Some(error) => Err(error),
                None => Err(ResolveError::NoPlatform {
                    name: documents.name().to_owned(),
                    platform: platform.clone(),
                    available: list(&candidates),
                }
                .into()),
            }
        }
    }
}

/// An image of an index.
struct Candidate {
    descriptor: Descriptor,
    platform: Platform,
}

/// Returns the image of an entry that names its platform.
fn named(entry: &Descriptor) -> Option<Candidate> {
    let platform = entry.platform.as_ref().filter(|_| !is_attestation(entry) && is_manifest(entry));
    let platform = platform.filter(|p| !p.os.is_empty() && !p.architecture.is_empty())?;
    Some(Candidate { descriptor: entry.clone(), platform: Platform::of_descriptor(platform) })
}

/// Adds the images of entries without a platform, and of nested indexes, to `candidates`. The first
/// error of an entry that was passed over goes to `unread`.
fn collect<D: Documents>(
    documents: &D,
    index: &Index,
    depth: usize,
    candidates: &mut Vec<Candidate>,
    unread: &mut Option<D::Error>,
) -> Result<(), D::Error> {
    let mut unnamed = 0;
    for entry in index.manifests.iter().filter(|entry| !is_attestation(entry)) {
        let read = if is_index(entry) {
            nested(documents, entry, depth, candidates, unread)
        } else if named(entry).is_none() && is_manifest(entry) && unnamed < MAX_UNNAMED {
            unnamed += 1;
            look_into(documents, entry).map(|found| candidates.extend(found))
        } else {
            Ok(())
        };
        match read {
            Err(error) if D::is_of_document(&error) => drop(unread.get_or_insert(error)),
            other => other?,
        }
    }
    Ok(())
}

/// Adds the images of a nested index.
fn nested<D: Documents>(
    documents: &D,
    entry: &Descriptor,
    depth: usize,
    candidates: &mut Vec<Candidate>,
    unread: &mut Option<D::Error>,
) -> Result<(), D::Error> {
    if depth >= MAX_NESTING {
        let source = DocumentError::Nesting { limit: MAX_NESTING };
        return Err(invalid(documents, "index", entry, source).into());
    }
    let bytes = documents.manifest(entry)?;
    if let Document::Index(inner) = parse(documents, entry, &bytes)? {
        candidates.extend(inner.manifests.iter().filter_map(named));
        collect(documents, &inner, depth + 1, candidates, unread)?;
    }
    Ok(())
}

/// Returns the image of an entry without a platform, if it is one for a platform.
fn look_into<D: Documents>(
    documents: &D,
    entry: &Descriptor,
) -> Result<Option<Candidate>, D::Error> {
    let manifest = read_manifest(documents, entry)?;
    if !is_image(&manifest) {
        return Ok(None);
    }
    let config = config(documents, entry, &manifest)?;
    let candidate = |platform| Candidate { descriptor: entry.clone(), platform };
    Ok(platform_of(&config).map(candidate))
}

/// Returns whether an index entry is an attestation about an image.
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key(TYPE)
        || entry.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

/// Reads the best image for the platform; the first of several equally good ones that is an image.
fn choose<D: Documents>(
    documents: &D,
    candidates: &[Candidate],
    platform: &Platform,
) -> Result<Option<ResolvedImage>, D::Error> {
    let accepted = platform.accepted();
    let of = |wanted: &Platform| candidates.iter().filter(|c| c.platform == *wanted).collect();
    let mut found = accepted.iter().map(of);
    let Some(alike) = found.find(|alike: &Vec<&Candidate>| !alike.is_empty()) else {
        return Ok(None);
    };
    let mut failure = None;
    for candidate in alike {
        match read_image(documents, candidate) {
            Err(error) if D::is_of_document(&error) => drop(failure.get_or_insert(error)),
            other => return other.map(Some),
        }
    }
    failure.map_or(Ok(None), Err)
}

fn read_image<D: Documents>(documents: &D, chosen: &Candidate) -> Result<ResolvedImage, D::Error> {
    let manifest = read_manifest(documents, &chosen.descriptor)?;
    let config = config(documents, &chosen.descriptor, &manifest)?;
    let (descriptor, platform) = (chosen.descriptor.clone(), chosen.platform.clone());
    Ok(image(documents, descriptor, manifest, config, platform))
}

fn list(candidates: &[Candidate]) -> String {
    let mut names: Vec<String> = Vec::new();
    for name in candidates.iter().map(|candidate| candidate.platform.to_string()) {
        if !names.contains(&name) && names.len() < 30 {
            names.push(name);
        }
    }
    let text = if names.is_empty() { "no platform".to_owned() } else { names.join(", ") };
    crate::printable::printable(&text, 1000)
}

/// Returns the platform that a configuration names; `None` for old ones without a platform.
pub(crate) fn platform_of(config: &ImageConfig) -> Option<Platform> {
    let named = !config.os.is_empty() && !config.architecture.is_empty();
    named.then(|| config.platform())
}

fn image(
    documents: &impl Documents,
    descriptor: Descriptor,
    manifest: Manifest,
    config: ImageConfig,
    platform: Platform,
) -> ResolvedImage {
    let source = documents.blob_source();
    let layers = config.rootfs.diff_ids.iter().zip(manifest.layers);
    let layer = |(diff_id, descriptor): (&xbuild_model::DiffId, Descriptor)| ImageLayer {
        diff_id: diff_id.clone(),
        descriptor,
        source: source.clone(),
    };
    let layers = layers.map(layer).collect();
    ResolvedImage {
        name: documents.name().to_owned(),
        platform,
        root: descriptor.digest.clone(),
        manifest: descriptor,
        config,
        layers,
    }
}

/// Reads a manifest.
pub(crate) fn read_manifest<D: Documents>(
    documents: &D,
    descriptor: &Descriptor,
) -> Result<Manifest, D::Error> {
    let bytes = documents.manifest(descriptor)?;
    match parse(documents, descriptor, &bytes)? {
        Document::Manifest(manifest) => Ok(manifest),
        // `parse` refuses an index unless the descriptor has the media type of one.
        Document::Index(_) => {
            let source = DocumentError::NotAnImage { what: "an index".to_owned() };
            Err(invalid(documents, "manifest", descriptor, source).into())
        }
    }
}

/// Reads the configuration of an image.
pub(crate) fn config<D: Documents>(
    documents: &D,
    descriptor: &Descriptor,
    manifest: &Manifest,
) -> Result<ImageConfig, D::Error> {
    if !is_image(manifest) {
        let what = crate::printable::printable(&manifest.config.media_type, 100);
        let source = DocumentError::NotAnImage { what };
        return Err(invalid(documents, "manifest", descriptor, source).into());
    }
    let bytes = documents.config(&manifest.config)?;
    parse_config(manifest, &bytes)
        .map_err(|source| invalid(documents, "configuration", &manifest.config, source).into())
}

pub(crate) fn parse(
    documents: &impl Documents,
    descriptor: &Descriptor,
    bytes: &[u8],
) -> Result<Document, ResolveError> {
    Document::parse(Some(&descriptor.media_type), bytes)
        .map(|(document, _)| document)
        .map_err(|source| invalid(documents, "manifest", descriptor, source))
}

pub(crate) fn invalid(
    documents: &impl Documents,
    what: &'static str,
    descriptor: &Descriptor,
    source: DocumentError,
) -> ResolveError {
    let name = documents.name().to_owned();
    let (digest, source) = (descriptor.digest.clone(), Box::new(source));
    ResolveError::Document { name, what, digest, source }
}
