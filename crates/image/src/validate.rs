//! Validation of images: all that can be checked, from the root down.

use std::io::{self, BufReader, Read};

use sha2::{Digest as _, Sha256};
use xbuild_model::manifest::Compression;
use xbuild_model::{Descriptor, DiffId, Digest, ImageConfig, Manifest, Platform};

use crate::document::{
    Document, MAX_CONFIG, MAX_MANIFEST, check_bytes, check_limit, is_image, parse_config,
};
use crate::error::{DocumentError, ValidateError};
use crate::resolve::{is_attestation, platform_of};

/// Opens a blob.
pub type BlobReaderFn<'a> = dyn Fn(&Descriptor) -> io::Result<Box<dyn Read>> + 'a;

/// The result of a validation without fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Validated {
    /// The manifest or index.
    pub root: Descriptor,
    /// The images, in the order of the index.
    pub images: Vec<ValidatedImage>,
}

/// A valid image.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidatedImage {
    /// The manifest's descriptor.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub config: ImageConfig,
}

/// Checks an image, or an index of images: sizes and digests of all blobs, diff IDs of the
/// uncompressed layers, the history, and whether index and configurations name the same platforms.
///
/// **Errors** — the first fault.
pub fn validate(root: &Descriptor, read: &BlobReaderFn<'_>) -> Result<Validated, ValidateError> {
    let mut images = Vec::new();
    match document(root, read)? {
        Document::Manifest(manifest) => images.push(image(root, manifest, read)?),
        Document::Index(index) => {
            for entry in &index.manifests {
                let Document::Manifest(manifest) = document(entry, read)? else {
                    let source = DocumentError::Nesting { limit: 1 };
                    return Err(invalid("index", entry, source));
                };
                if !is_attestation(entry) {
                    images.push(image(entry, manifest, read)?);
                }
            }
        }
    }
    let mut seen: Vec<Platform> = Vec::new();
    for image in &images {
        let Some(platform) = image.descriptor.platform.as_ref().map(Platform::of_descriptor) else {
            continue;
        };
        if seen.contains(&platform) {
            return Err(ValidateError::DuplicatePlatform { platform });
        }
        seen.push(platform);
    }
    Ok(Validated { root: root.clone(), images })
}

fn image(
    descriptor: &Descriptor,
    manifest: Manifest,
    read: &BlobReaderFn<'_>,
) -> Result<ValidatedImage, ValidateError> {
    if !is_image(&manifest) {
        let what = manifest.config.media_type.clone();
        return Err(invalid("manifest", descriptor, DocumentError::NotAnImage { what }));
    }
    let bytes = bytes("configuration", &manifest.config, MAX_CONFIG, read)?;
    let config = parse_config(&manifest, &bytes)
        .map_err(|source| invalid("configuration", &manifest.config, source))?;
    check_platform(descriptor, &config)?;
    let history = config.history.iter().filter(|entry| !entry.empty_layer).count();
    let layers = manifest.layers.len();
    if !config.history.is_empty() && history != layers {
        let digest = manifest.config.digest.clone();
        return Err(ValidateError::History { digest, history, layers });
    }
    for (layer, diff_id) in manifest.layers.iter().zip(&config.rootfs.diff_ids) {
        check_layer(layer, diff_id, read)?;
    }
    Ok(ValidatedImage { descriptor: descriptor.clone(), manifest, config })
}

fn check_platform(descriptor: &Descriptor, config: &ImageConfig) -> Result<(), ValidateError> {
    let Some(index) = descriptor.platform.as_ref().map(Platform::of_descriptor) else {
        return Ok(());
    };
    match platform_of(config) {
        Some(own) if own != index => {
            let source = DocumentError::Platform { index: Box::new(index), config: Box::new(own) };
            Err(invalid("manifest", descriptor, source))
        }
        _ => Ok(()),
    }
}

/// Reads a layer to its end and hashes the stored and the uncompressed bytes.
fn check_layer(
    layer: &Descriptor,
    diff_id: &DiffId,
    read: &BlobReaderFn<'_>,
) -> Result<(), ValidateError> {
    let failed =
        |source| ValidateError::Read { what: "layer", digest: layer.digest.clone(), source };
    let mut blob = read(layer).map_err(failed)?;
    let mut head = Vec::new();
    blob.by_ref().take(512).read_to_end(&mut head).map_err(failed)?;
    let compression = Compression::of_bytes(&head);
    let mut stored = Hashing::new(io::Cursor::new(head).chain(blob));
    let actual = match compression {
        Compression::Gzip => hash(flate2::read::MultiGzDecoder::new(&mut stored)),
        Compression::Zstd => zstd::Decoder::with_buffer(BufReader::new(&mut stored)).and_then(hash),
        Compression::None => hash(&mut stored),
    };
    let actual = actual.map_err(failed)?;
    // Bytes behind the compressed stream belong to the blob as well.
    io::copy(&mut stored, &mut io::sink()).map_err(failed)?;
    let (digest, size) = stored.finish();
    if size != layer.size {
        let source = DocumentError::Size { expected: layer.size, actual: size };
        return Err(invalid("layer", layer, source));
    }
    if digest != layer.digest {
        let source = DocumentError::Digest { expected: layer.digest.clone(), actual: digest };
        return Err(invalid("layer", layer, source));
    }
    if actual != diff_id.0 {
        let (digest, expected) = (layer.digest.clone(), diff_id.0.clone());
        return Err(ValidateError::DiffId { digest, expected, actual });
    }
    Ok(())
}

fn document(descriptor: &Descriptor, read: &BlobReaderFn<'_>) -> Result<Document, ValidateError> {
    let bytes = bytes("manifest", descriptor, MAX_MANIFEST, read)?;
    Document::parse(Some(&descriptor.media_type), &bytes)
        .map(|(document, _)| document)
        .map_err(|source| invalid("manifest", descriptor, source))
}

fn bytes(
    what: &'static str,
    descriptor: &Descriptor,
    limit: u64,
    read: &BlobReaderFn<'_>,
) -> Result<Vec<u8>, ValidateError> {
    check_limit(descriptor, limit).map_err(|source| invalid(what, descriptor, source))?;
    let mut bytes = Vec::new();
    read(descriptor).and_then(|reader| reader.take(limit + 1).read_to_end(&mut bytes)).map_err(
        |source| ValidateError::Read { what, digest: descriptor.digest.clone(), source },
    )?;
    check_bytes(descriptor, &bytes).map_err(|source| invalid(what, descriptor, source))?;
    Ok(bytes)
}

fn invalid(what: &'static str, descriptor: &Descriptor, source: DocumentError) -> ValidateError {
    ValidateError::Document { what, digest: descriptor.digest.clone(), source }
}

fn hash(reader: impl Read) -> io::Result<Digest> {
    let mut reader = Hashing::new(reader);
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.finish().0)
}

/// Hashes the bytes that are read through it.
struct Hashing<R> {
    inner: R,
    hash: Sha256,
    size: u64,
}

impl<R: Read> Hashing<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), size: 0 }
    }

    fn finish(self) -> (Digest, u64) {
        (Digest::from_sha256(self.hash.finalize().into()), self.size)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.size += length as u64;
        Ok(length)
    }
}
