//! The contents of a regular file, which may have holes.

use std::io::{self, Read};

/// A part of a file that is not a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Segment {
    /// Bytes before it in the file.
    pub offset: u64,
    /// Bytes of it.
    pub length: u64,
}

/// The contents of a regular file. Its holes are read as zeros unless they are skipped, which takes
/// no time however long they are.
pub trait Contents: Read {
    /// Skips the hole that comes next. Returns its length in bytes; 0 if there is none.
    fn skip_hole(&mut self) -> io::Result<u64> {
        Ok(0)
    }

    /// Returns the parts that are not holes, ascending, if they are known before anything is read;
    /// `None` also for a file with few holes.
    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        Ok(None)
    }
}

impl Contents for io::Empty {}
impl Contents for &[u8] {}

impl<C: Contents + ?Sized> Contents for &mut C {
    fn skip_hole(&mut self) -> io::Result<u64> {
        (**self).skip_hole()
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        (**self).segments()
    }
}

/// Contents without known holes.
#[derive(Debug)]
pub struct Plain<R>(pub R);

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Contents for Plain<R> {}

/// Contents whose stored parts were found when the file was read before.
#[derive(Debug)]
pub struct Mapped<C> {
    contents: C,
    segments: Option<Vec<Segment>>,
}

impl<C: Contents> Mapped<C> {
    /// Takes the contents from their beginning, and their parts that are not holes.
    pub fn new(contents: C, segments: Option<Vec<Segment>>) -> Self {
        Self { contents, segments }
    }
}

impl<C: Contents> Read for Mapped<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.contents.read(buffer)
    }
}

impl<C: Contents> Contents for Mapped<C> {
    fn skip_hole(&mut self) -> io::Result<u64> {
        self.contents.skip_hole()
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        Ok(self.segments.clone())
    }
}

/// Returns the bytes of all parts together.
pub(crate) fn stored(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.length).sum()
}
