//! The contents of one entry: the stored bytes, and the holes between them.

use std::io::{self, Read};

use crate::Segment;

use super::header::BLOCK;

/// The rest of the contents of an entry.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Bytes in the archive that are not yet read, without padding.
    stored: u64,
    /// Bytes of padding after them, to the end of the block.
    padding: u64,
    /// The offset of the next byte in the file, and the size of the file.
    position: u64,
    size: u64,
    /// The stored parts of the file from `position` on, the next segment last.
    segments: Vec<Segment>,
}

impl Contents {
    /// Returns the contents of a file of `size` bytes without holes.
    pub(super) fn plain(size: u64) -> Self {
        let block = BLOCK as u64;
        let padding = (block - size % block) % block;
        let segments = vec![Segment { offset: 0, length: size }];
        Self { stored: size, padding, position: 0, size, segments }
    }

    /// Takes the rest as the contents of a file of `size` bytes, of which only `segments` are
    /// stored.
    pub(super) fn with_holes(self, size: u64, mut segments: Vec<Segment>) -> Self {
        segments.reverse();
        Self { position: 0, size, segments, ..self }
    }

    /// Returns the parts of the file that are not holes, if it has holes and nothing was read yet.
    pub(super) fn segments(&self) -> Option<Vec<Segment>> {
        let has_holes = self.position == 0 && self.stored < self.size;
        has_holes.then(|| self.segments.iter().rev().copied().collect())
    }

    /// Skips the hole that comes next. Returns its length in bytes.
    pub(super) fn skip_hole(&mut self) -> u64 {
        let end = self.hole_end();
        let count = end - self.position;
        self.position = end;
        count
    }

    /// Returns where the hole ends that comes next; the position if there is none.
    fn hole_end(&mut self) -> u64 {
        while self.segments.last().is_some_and(|segment| segment.length == 0) {
            self.segments.pop();
        }
        self.segments.last().map_or(self.size, |segment| segment.offset)
    }

    /// Returns how many bytes of the archive are left, without padding.
    pub(super) fn stored(&self) -> u64 {
        self.stored
    }

    /// Returns how many bytes the next header is away.
    pub(super) fn to_skip(&self) -> u64 {
        // At most 2^63: the size fits in 63 bits.
        self.stored + self.padding
    }

    /// Reads some of the contents, holes as zeros. Returns how many bytes, and how many of them
    /// came from `input`.
    ///
    /// **Errors** — those of `input`; `UnexpectedEof` if it ends too early.
    pub(super) fn read(
        &mut self,
        input: &mut impl Read,
        buffer: &mut [u8],
    ) -> io::Result<(usize, u64)> {
        let hole_end = self.hole_end();
        if self.position < hole_end {
            let count = clip(buffer, hole_end - self.position);
            buffer[..count].fill(0);
            self.position += count as u64;
            return Ok((count, 0));
        }
        let Some(segment) = self.segments.last_mut() else { return Ok((0, 0)) };
        let wanted = clip(buffer, segment.length);
        let count = input.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = count as u64;
        self.stored -= taken;
        self.position += taken;
        segment.offset += taken;
        segment.length -= taken;
        Ok((count, taken))
    }
}

/// Returns how many of the bytes that are `left` fit in `buffer`.
fn clip(buffer: &[u8], left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len())
}
