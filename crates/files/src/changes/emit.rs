//! Writing the changes: parents before what is in them, links after their files.

use std::collections::HashMap;
use std::io::{self, Write};

use xbuild_layer::{Contents, Entry, Kind, LayerWriter};

use crate::DiffError;
use crate::root::Stat;

/// Writes changes that come depth first.
pub(super) struct Emit<'a, W> {
    out: &'a mut LayerWriter<W>,
    /// The entries of unchanged folders around the current file, until something in them is written.
    pending: Vec<Entry>,
    /// The first written name of each file with several names, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl<'a, W: Write> Emit<'a, W> {
    pub(super) fn new(out: &'a mut LayerWriter<W>) -> Self {
        Self { out, pending: Vec::new(), links: HashMap::new() }
    }

    /// Goes into an unchanged folder.
    pub(super) fn enter(&mut self, folder: Entry) {
        self.pending.push(folder);
    }

    /// Leaves a folder.
    pub(super) fn leave(&mut self, folder: &[u8]) {
        self.pending.retain(|entry| entry.path != folder);
    }

    pub(super) fn whiteout(&mut self, path: &[u8]) -> Result<(), DiffError> {
        self.write_pending()?;
        Ok(self.out.whiteout(path)?)
    }

    pub(super) fn opaque(&mut self, path: &[u8]) -> Result<(), DiffError> {
        Ok(self.out.opaque(path)?)
    }

    pub(super) fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
    ) -> Result<(), DiffError> {
        self.write_pending()?;
        Ok(self.out.put_contents(entry, contents)?)
    }

    /// Writes a file that is no folder: as a link if another name of it was written.
    pub(super) fn file(
        &mut self,
        mut entry: Entry,
        stat: &Stat,
        contents: &mut dyn Contents,
    ) -> Result<(), DiffError> {
        if stat.nlink > 1 {
            let key = (stat.dev, stat.ino);
            if let Some(target) = self.links.get(&key).cloned() {
                entry.kind = Kind::HardLink { target };
                entry.meta.xattrs.clear();
                return self.put(&entry, &mut io::empty());
            }
            self.links.insert(key, entry.path.clone());
        }
        self.put(&entry, contents)
    }

    /// Writes the pending parents of the next entry.
    fn write_pending(&mut self) -> Result<(), DiffError> {
        for entry in std::mem::take(&mut self.pending) {
            self.out.put(&entry, &mut io::empty())?;
        }
        Ok(())
    }
}
