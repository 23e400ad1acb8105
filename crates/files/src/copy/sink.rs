//! The output of entries: a layer, or a folder.

use std::io::{self, Write};

use xbuild_layer::{Change, ContentHash, Contents, Entry, IndexedWriter, LayerWriter};

use crate::CopyError;

/// Takes entries with their contents.
pub(crate) trait EntrySink {
    /// Takes a file with its `contents`, which are empty unless it is a regular file. `hash` is the
    /// hash of the contents, if it is known.
    fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        hash: Option<ContentHash>,
    ) -> Result<(), CopyError>;

    /// Takes a [`Change::Whiteout`] or [`Change::Opaque`].
    fn mark(&mut self, change: &Change) -> Result<(), CopyError>;
}

impl<W: Write> EntrySink for LayerWriter<W> {
    fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        _: Option<ContentHash>,
    ) -> Result<(), CopyError> {
        Ok(LayerWriter::put_contents(self, entry, contents)?)
    }

    fn mark(&mut self, change: &Change) -> Result<(), CopyError> {
        match change {
            Change::Whiteout(path) => self.whiteout(path)?,
            Change::Opaque(path) => self.opaque(path)?,
            Change::Put(entry) => LayerWriter::put(self, entry, &mut io::empty())?,
        }
        Ok(())
    }
}

impl<W: Write> EntrySink for IndexedWriter<W> {
    fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        hash: Option<ContentHash>,
    ) -> Result<(), CopyError> {
        Ok(IndexedWriter::put(self, entry, contents, hash)?)
    }

    fn mark(&mut self, change: &Change) -> Result<(), CopyError> {
        Ok(IndexedWriter::mark(self, change)?)
    }
}
