//! From a reference to the image for a platform: manifest and configuration.
//!
//! **Source** — OCI image-spec `image-index.md`; containerd's platform matching.

use bytes::Bytes;
use xbuild_model::{
    BlobSource, Descriptor, ImageConfig, ImageLayer, Index, Manifest, Platform, ResolvedImage,
};

use crate::document::{Document, is_image, is_index, parse_config};
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
}

/// Resolves the root of `documents` for a platform.
///
/// An index must have an image that runs on the platform. An image without an index is returned
/// even if its platform is another one; the result names it.
pub fn resolve<D: Documents>(
    documents: &D,
    platform: &Platform,
) -> Result<ResolvedImage, D::Error> {
    let (root, bytes) = documents.root()?;
    match parse(documents, &root, &bytes)? {
        Document::Manifest(manifest) => {
            let config = config(documents, &root, &manifest)?;
            let platform = platform_of(&config).unwrap_or_else(|| platform.clone());
            Ok(image(documents, root, manifest, config, platform))
        }
        Document::Index(index) => {
            let mut candidates = Vec::new();
            collect(documents, &root, &index, 1, &mut candidates)?;
            let chosen = choose(&candidates, platform).ok_or_else(|| ResolveError::NoPlatform {
                name: documents.name().to_owned(),
                platform: platform.clone(),
                available: list(&candidates),
            })?;
            let manifest = read_manifest(documents, &chosen.descriptor)?;
            let config = config(documents, &chosen.descriptor, &manifest)?;
            check_platform(documents, chosen, &config)?;
            Ok(image(
                documents,
                chosen.descriptor.clone(),
                manifest,
                config,
                chosen.platform.clone(),
            ))
        }
    }
}

/// An image of an index.
struct Candidate {
    descriptor: Descriptor,
    platform: Platform,
}

/// Adds the images of an index and of its nested indexes to `candidates`.
fn collect<D: Documents>(
    documents: &D,
    descriptor: &Descriptor,
    index: &Index,
    depth: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), D::Error> {
    if depth > MAX_NESTING {
        let source = DocumentError::Nesting { limit: MAX_NESTING };
        return Err(invalid(documents, "index", descriptor, source).into());
    }
    let mut unnamed = 0;
    for entry in index.manifests.iter().filter(|entry| !is_attestation(entry)) {
        if is_index(entry) {
            let bytes = documents.manifest(entry)?;
            if let Document::Index(inner) = parse(documents, entry, &bytes)? {
                collect(documents, entry, &inner, depth + 1, candidates)?;
            }
        } else if let Some(platform) = &entry.platform {
            let platform = Platform::of_descriptor(platform);
            candidates.push(Candidate { descriptor: entry.clone(), platform });
        } else if unnamed < MAX_UNNAMED {
            unnamed += 1;
            let manifest = read_manifest(documents, entry)?;
            if is_image(&manifest) {
                let config = config(documents, entry, &manifest)?;
                if let Some(platform) = platform_of(&config) {
                    candidates.push(Candidate { descriptor: entry.clone(), platform });
                }
            }
        }
    }
    Ok(())
}

/// Returns whether an index entry is an attestation about an image.
pub(crate) fn is_attestation(entry: &Descriptor) -> bool {
    entry.annotations.contains_key("vnd.docker.reference.type")
        || entry.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
}

/// Returns the best image for the platform; the first of several equally good ones.
fn choose<'a>(candidates: &'a [Candidate], platform: &Platform) -> Option<&'a Candidate> {
    let accepted = platform.accepted();
    accepted.iter().find_map(|wanted| candidates.iter().find(|c| c.platform == *wanted))
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

/// Checks that an image has the operating system and architecture of its index entry. Variants are
/// not compared, since many configurations leave them out.
fn check_platform(
    documents: &impl Documents,
    chosen: &Candidate,
    config: &ImageConfig,
) -> Result<(), ResolveError> {
    let index = &chosen.platform;
    match platform_of(config) {
        Some(own) if (own.os(), own.architecture()) != (index.os(), index.architecture()) => {
            let source =
                DocumentError::Platform { index: Box::new(index.clone()), config: Box::new(own) };
            Err(invalid(documents, "manifest", &chosen.descriptor, source))
        }
        _ => Ok(()),
    }
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

fn invalid(
    documents: &impl Documents,
    what: &'static str,
    descriptor: &Descriptor,
    source: DocumentError,
) -> ResolveError {
    let name = documents.name().to_owned();
    let (digest, source) = (descriptor.digest.clone(), Box::new(source));
    ResolveError::Document { name, what, digest, source }
}
