//! A built image, and where each of its blobs can be opened: in memory, in the store, or where a
//! base image came from.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use xbuild_model::seam::Blobs;
use xbuild_model::{Descriptor, Digest, FailureKind, ImageLayer, LayerBlob, StepFailure};

use crate::assemble::Assembled;
use crate::error::ValidateError;
use crate::validate::{Validated, validate};

/// Opens a blob of the store, whose bytes it has checked; `None` if it is not there.
pub type StoredFn<'a> = dyn Fn(&Digest) -> Result<Option<File>, StepFailure> + Sync + 'a;

/// Assembled images, and where each of their blobs can be opened.
pub struct Built<'a> {
    /// The documents.
    pub assembled: Assembled,
    layers: HashMap<Digest, LayerBlob>,
    stored: Box<StoredFn<'a>>,
    remote: &'a dyn Blobs,
}

impl fmt::Debug for Built<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("root", &self.assembled.root().0.digest)
            .finish_non_exhaustive()
    }
}

impl<'a> Built<'a> {
    /// Joins the documents with the blobs of their layers. `stored` opens those of the store,
    /// `remote` those of base images that were not pulled.
    pub fn new(
        assembled: Assembled,
        layers: impl IntoIterator<Item = LayerBlob>,
        stored: impl Fn(&Digest) -> Result<Option<File>, StepFailure> + Sync + 'a,
        remote: &'a dyn Blobs,
    ) -> Self {
        let by_digest = |blob: LayerBlob| (blob.descriptor().digest.clone(), blob);
        let layers = layers.into_iter().map(by_digest).collect();
        Self { assembled, layers, stored: Box::new(stored), remote }
    }

    /// Returns one of the images alone, by the digest of its manifest.
    pub fn image(&self, manifest: &Digest) -> Option<Built<'_>> {
        let mut images = self.assembled.images.iter();
        let image = images.find(|image| image.descriptor.digest == *manifest)?.clone();
        Some(Built {
            assembled: Assembled { images: vec![image], index: None },
            layers: self.layers.clone(),
            stored: Box::new(|digest| (self.stored)(digest)),
            remote: self.remote,
        })
    }

    /// Returns the layer of a base image that has this very blob, if there is one.
    pub fn base(&self, blob: &Descriptor) -> Option<&ImageLayer> {
        self.layers.get(&blob.digest)?.base()
    }

    /// Finds a layer, a configuration, a manifest or the index.
    ///
    /// **Errors** — the store fails, no longer has the blob, or has found it damaged.
    pub fn find(&self, blob: &Descriptor) -> Result<FoundBlob<'_>, StepFailure> {
        if let Some(bytes) = self.assembled.document(&blob.digest) {
            return Ok(FoundBlob::Document(bytes));
        }
        let gone = || {
            let text = format!("the blob {} is gone from the store", blob.digest);
            StepFailure::new(FailureKind::Internal, io::Error::other(text))
        };
        match self.layers.get(&blob.digest).ok_or_else(gone)? {
            LayerBlob::Remote(layer) => Ok(FoundBlob::Remote(layer, self.remote)),
            LayerBlob::Stored { .. } => {
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
        validate(self.assembled.root().0, &read)
    }
}

/// A blob with a known place. It can be opened any number of times.
pub enum FoundBlob<'a> {
    /// A document, in memory.
    Document(&'a [u8]),
    /// A file that holds the blob and nothing else. The store has checked the bytes.
    File(File),
    /// A layer of a base image that was not pulled. Its bytes are not checked yet.
    Remote(&'a ImageLayer, &'a dyn Blobs),
}

impl fmt::Debug for FoundBlob<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(_) => f.write_str("Document"),
            Self::File(file) => f.debug_tuple("File").field(file).finish(),
            Self::Remote(layer, _) => f.debug_tuple("Remote").field(layer).finish(),
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
            Self::Remote(layer, blobs) => blobs.open(layer, offset),
        }
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
