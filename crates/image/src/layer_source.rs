//! Where the bytes of the layers are that are pushed or written.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use xbuild_model::seam::Blobs;
use xbuild_model::{Descriptor, ImageLayer, StepFailure};

/// Where the bytes of a layer are.
#[derive(Debug)]
pub enum PushSource {
    /// In a file of their own, from its first byte on.
    Local(File),
    /// Where the base image came from.
    Remote(ImageLayer),
    /// In a file, pulled from where the base image came from: a registry that has it already need
    /// not be sent it.
    Pulled(File, ImageLayer),
}

impl PushSource {
    /// Returns the file that holds the bytes, if they are here.
    pub(crate) fn file(&self) -> Option<&File> {
        match self {
            Self::Local(file) | Self::Pulled(file, _) => Some(file),
            Self::Remote(_) => None,
        }
    }

    /// Returns the layer of the base image that this is, if it is one.
    pub fn base(&self) -> Option<&ImageLayer> {
        match self {
            Self::Local(_) => None,
            Self::Remote(layer) | Self::Pulled(_, layer) => Some(layer),
        }
    }
}

/// Says where the bytes of a layer are. Asked only for layers that the target does not have.
pub type LayerSource<'a> = dyn Fn(&Descriptor) -> Result<PushSource, StepFailure> + Sync + 'a;

/// Reads a file from a position of its own: several readers of one open file do not disturb each
/// other.
#[derive(Debug)]
pub struct FileFrom {
    /// The file.
    pub file: File,
    /// Where the next byte is read.
    pub position: u64,
}

impl Read for FileFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

/// Opens what a [`LayerSource`] named, from its first byte.
pub(crate) fn open_source(
    source: PushSource,
    blobs: &dyn Blobs,
) -> Result<Box<dyn Read + Send>, StepFailure> {
    match source {
        PushSource::Local(file) | PushSource::Pulled(file, _) => {
            Ok(Box::new(FileFrom { file, position: 0 }))
        }
        PushSource::Remote(layer) => blobs.open(&layer),
    }
}
