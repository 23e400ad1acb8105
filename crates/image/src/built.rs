//! A built image, or one to copy, and where each of its blobs can be opened: in memory, in the store,
//! or where a base image came from.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use xbuild_model::seam::Blobs;
use xbuild_model::{BlobSource, Descriptor, Digest, FailureKind, LayerBlob, StepFailure};

use crate::assemble::Assembled;
use crate::checked_read::CheckedRead;
use crate::content::Content;
use crate::error::ValidateError;
use crate::validate::{Validated, validate};

/// Opens a blob of the store, whose bytes it has checked; `None` if it is not there.
pub type StoredFn<'a> = dyn Fn(&Digest) -> Result<Option<File>, StepFailure> + Sync + 'a;

/// The place of a blob.
#[derive(Debug, Clone, PartialEq)]
pub enum BlobPlace {
    /// The store. The other place, if it is known, has the same blob, and need not be sent it.
    Stored(Option<BlobSource>),
    /// Only there.
    Remote(BlobSource),
}

impl From<&LayerBlob> for BlobPlace {
    fn from(blob: &LayerBlob) -> Self {
        match blob {
            LayerBlob::Stored { base, .. } => {
                Self::Stored(base.as_ref().map(|base| base.source.clone()))
            }
            LayerBlob::Remote(layer) => Self::Remote(layer.source.clone()),
        }
    }
}

/// The documents of images, and where each of their blobs can be opened.
pub struct Built<'a> {
    /// Manifests and indexes.
    pub content: Content,
    /// The configurations and statements that are in memory.
    texts: HashMap<Digest, Vec<u8>>,
    places: HashMap<Digest, BlobPlace>,
    /// The descriptors of foreign layers, which say where these are, whatever the manifest says.
    foreign: HashMap<Digest, Descriptor>,
    stored: Box<StoredFn<'a>>,
    remote: &'a dyn Blobs,
}

impl fmt::Debug for Built<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("root", &self.content.root().descriptor.digest)
            .finish_non_exhaustive()
    }
}

impl<'a> Built<'a> {
    /// Joins assembled images with the blobs of their layers. `stored` opens those of the store,
    /// `remote` those of base images that were not pulled.
    pub fn new(
        assembled: Assembled,
        layers: impl IntoIterator<Item = LayerBlob>,
        stored: impl Fn(&Digest) -> Result<Option<File>, StepFailure> + Sync + 'a,
        remote: &'a dyn Blobs,
    ) -> Self {
        let by_digest =
            |blob: LayerBlob| (blob.descriptor().digest.clone(), BlobPlace::from(&blob));
        let layers: Vec<LayerBlob> = layers.into_iter().collect();
        let foreign = layers.iter().map(LayerBlob::descriptor).filter(|layer| layer.is_foreign());
        let foreign = foreign.map(|layer| (layer.digest.clone(), layer.clone())).collect();
        let places = layers.into_iter().map(by_digest).collect();
        let content = Content::from(&assembled);
        let configs = assembled.images.into_iter();
        let configs = configs.map(|image| (image.config_descriptor.digest, image.config));
        let stated = assembled.attestations.into_iter().flat_map(|attestation| attestation.blobs);
        let texts = configs.chain(stated.map(|(blob, bytes)| (blob.digest, bytes)));
        let texts = texts.collect();
        Self { texts, foreign, ..Self::of(content, places, stored, remote) }
    }

    /// Returns one of the images alone, by the digest of its manifest.
    pub fn image(&self, manifest: &Digest) -> Option<Built<'_>> {
        Some(Built {
            content: self.content.alone(manifest)?,
            texts: self.texts.clone(),
            places: self.places.clone(),
            foreign: self.foreign.clone(),
            stored: Box::new(|digest| (self.stored)(digest)),
            remote: self.remote,
        })
    }

    /// Joins documents that were read with the places of their blobs.
    pub fn of(
        content: Content,
        places: HashMap<Digest, BlobPlace>,
        stored: impl Fn(&Digest) -> Result<Option<File>, StepFailure> + Sync + 'a,
        remote: &'a dyn Blobs,
    ) -> Self {
        let (texts, foreign) = Default::default();
        Self { content, texts, places, foreign, stored: Box::new(stored), remote }
    }

    /// Adds blobs that are in memory.
    #[must_use]
    pub fn holding(mut self, blobs: impl IntoIterator<Item = (Digest, Vec<u8>)>) -> Self {
        self.texts.extend(blobs);
        self
    }

    /// Returns the place of a blob; `None` for documents in memory.
    pub fn place(&self, blob: &Descriptor) -> Option<&BlobPlace> {
        self.places.get(&blob.digest)
    }

    /// Returns another place that has a blob, if there is one.
    pub fn base(&self, blob: &Descriptor) -> Option<&BlobSource> {
        match self.places.get(&blob.digest)? {
            BlobPlace::Stored(source) => source.as_ref(),
            BlobPlace::Remote(source) => Some(source),
        }
    }

    /// Takes note that other bytes came than those of a blob; see [`Blobs::distrust`].
    pub fn distrust(&self, blob: &Descriptor) -> bool {
        self.remote.distrust(blob)
    }

    /// Finds a layer, a configuration, a manifest or the index.
    ///
    /// **Errors** — the store fails, no longer has the blob, or has found it damaged.
    pub fn find<'b>(&'b self, blob: &'b Descriptor) -> Result<FoundBlob<'b>, StepFailure> {
        let documents = self.content.documents();
        let document = documents.iter().find(|found| found.descriptor.digest == blob.digest);
        if let Some(document) = document {
            return Ok(FoundBlob::Document(&document.bytes));
        }
        if let Some(bytes) = self.texts.get(&blob.digest) {
            return Ok(FoundBlob::Document(bytes));
        }
        let gone = || {
            let text = format!("the blob {} is gone from the store", blob.digest);
            StepFailure::new(FailureKind::Internal, io::Error::other(text))
        };
        match self.places.get(&blob.digest).ok_or_else(gone)? {
            BlobPlace::Remote(source) => {
                let blob = self.foreign.get(&blob.digest).unwrap_or(blob);
                Ok(FoundBlob::Remote(blob, source, self.remote))
            }
            BlobPlace::Stored(_) => {
                (self.stored)(&blob.digest)?.map(FoundBlob::File).ok_or_else(gone)
            }
        }
    }

    /// Checks all blobs of the images; see [`validate`].
    ///
    /// **Errors** — the first fault.
    pub fn validate(&self) -> Result<Validated, ValidateError> {
        let read = |blob: &Descriptor| -> io::Result<Box<dyn Read>> {
            let found = self.find(blob).and_then(|found| found.open(0));
            Ok(found.map_err(io::Error::other)?)
        };
        validate(&self.content.root().descriptor, &read)
    }
}

/// A blob with a known place. It can be opened any number of times.
pub enum FoundBlob<'a> {
    /// A document, in memory.
    Document(&'a [u8]),
    /// A file that holds the blob and nothing else. The store has checked the bytes.
    File(File),
    /// A blob that is not in the store. Its bytes are not checked yet.
    Remote(&'a Descriptor, &'a BlobSource, &'a dyn Blobs),
}

impl fmt::Debug for FoundBlob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(_) => f.write_str("Document"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Remote(blob, source, _) => {
                f.debug_tuple("Remote").field(&blob.digest).field(source).finish()
            }
        }
    }
}

impl FoundBlob<'_> {
    /// Opens the blob from byte `offset` on.
    pub fn open(&self, offset: u64) -> Result<Box<dyn Read + Send>, StepFailure> {
        match self {
            Self::Document(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(Box::new(io::Cursor::new(bytes[start..].to_vec())))
            }
            Self::File(file) => {
                let failed = |error| StepFailure::new(FailureKind::Internal, error);
                let file = file.try_clone().map_err(failed)?;
                Ok(Box::new(FileFrom { file, position: offset }))
            }
            Self::Remote(blob, source, blobs) => blobs.open(blob, source, offset),
        }
    }

    /// Opens the blob from its beginning. The last bytes come only if all are right; else there is an
    /// error with [`WrongBytes`](xbuild_model::WrongBytes) among its causes.
    pub fn open_checked(&self) -> Result<Box<dyn Read + Send>, StepFailure> {
        let input = self.open(0)?;
        Ok(match self {
            Self::Remote(blob, source, _) => Box::new(CheckedRead::new(input, blob, source)),
            Self::Document(_) | Self::File(_) => input,
        })
    }
}

/// A reader with a position of its own, so that several can read one open file.
#[derive(Debug)]
pub struct FileFrom {
    /// The file.
    pub file: File,
    /// The offset of the next byte.
    pub position: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}
