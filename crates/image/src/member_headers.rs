//! A bound on the headers of an archive's members.
//!
//! The reader of archives keeps a member's extended headers in memory, however long they are.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Bytes of the headers of one member at most: long names, times, attributes.
const MAX_HEADERS: u64 = 1 << 20;

/// Bytes of the path of a member, or of a link's target, at most. Those of images have some hundred;
/// longer ones belong to no image.
pub(crate) const MAX_PATH: usize = 1 << 10;

/// An archive of which only so many bytes can be read in one go.
pub(crate) struct Bounded<R> {
    archive: R,
    left: Rc<Cell<u64>>,
}

/// The bound of a [`Bounded`] archive.
pub(crate) struct Bound(Rc<Cell<u64>>);

impl Bound {
    /// Bounds what is read until the next member comes.
    pub(crate) fn headers(&self) {
        self.0.set(MAX_HEADERS);
    }

    /// Lets all contents of a member be read.
    pub(crate) fn contents(&self) {
        self.0.set(u64::MAX);
    }
}

impl<R> Bounded<R> {
    /// Bounds an archive, from its first member on.
    pub(crate) fn new(archive: R) -> (Self, Bound) {
        let left = Rc::new(Cell::new(MAX_HEADERS));
        (Self { archive, left: Rc::clone(&left) }, Bound(left))
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        let Some(left) = self.left.get().checked_sub(count as u64) else {
            return Err(io::Error::other("a member has too long a header"));
        };
        self.left.set(left);
        Ok(count)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.archive.seek(to)
    }
}
