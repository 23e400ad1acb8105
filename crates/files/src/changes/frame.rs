//! The folders and files that the walk is at.

use std::{io, vec};

use xbuild_layer::path;
use xbuild_model::own_root::Spared;

use crate::on_disk::{at_old_time, stats};
use crate::root::{Root, Stat};
use crate::stamps::Stamp;

/// A folder being walked.
pub(super) struct Frame {
    pub(super) path: Vec<u8>,
    pub(super) folder: Root,
    /// Names with their stats, in byte order.
    pub(super) items: vec::IntoIter<(Vec<u8>, Stat)>,
    /// The number of names on the way to its files.
    pub(super) depth: u32,
    /// Whether all its files are new, or hide those of a folder that was there before.
    pub(super) is_new: bool,
}

impl Frame {
    pub(super) fn open(
        path: Vec<u8>,
        folder: Root,
        (depth, is_new): (u32, bool),
        spared: &Spared,
    ) -> io::Result<Self> {
        let mut items = stats(&folder)?;
        if spared.is_around(&path) {
            items.retain(|(name, _)| !spared.has(&path::join(&path, name)));
        }
        Ok(Self { path, folder, items: items.into_iter(), depth, is_new })
    }
}

/// A file that the walk comes to.
pub(super) struct Found<'f> {
    pub(super) folder: &'f Root,
    pub(super) name: &'f [u8],
    pub(super) path: Vec<u8>,
    pub(super) stat: Stat,
    pub(super) stamp: Stamp,
    /// The stamp of the walk before.
    pub(super) before: Option<Stamp>,
    /// Whether the walk has removed it.
    pub(super) is_gone: bool,
}

impl Found<'_> {
    /// Puts the time of a change that the walk itself has made into the stamp.
    pub(super) fn refresh(&mut self) -> io::Result<()> {
        self.stamp.ctime = self.folder.stat(self.name)?.ctime;
        Ok(())
    }

    /// Removes a file that the layer does not have. The time of its folder stays what the layer says.
    pub(super) fn take_away(&mut self) -> io::Result<()> {
        self.is_gone = true;
        at_old_time(self.folder, || self.folder.unlink(self.name))
    }
}
