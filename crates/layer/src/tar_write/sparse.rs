//! Files with large holes.
//!
//! **Source** — GNU tar manual § Storing Sparse Files, PAX format 1.0, the one that Go's
//! `archive/tar`, Python, libarchive and GNU tar all read.

use std::io::{self, Read, Write};

use crate::contents::stored;
use crate::limits::{HOLE, MAX_HOLES, MAX_WRITTEN_SEGMENTS};
use crate::tar_read::BLOCK;
use crate::{Contents, Entry, EntryFault, LayerError, Segment};

use super::{BUFFER, LayerWriter, contents_fault, name, pax_record, size_changed};

/// The folder that GNU tar puts before the name, so that a reader that knows no holes does not take
/// the stored bytes for the file.
const FOLDER: &[u8] = b"GNUSparseFile.0/";

impl<W: Write> LayerWriter<W> {
    /// Writes a file of `size` bytes, of which only `segments` are stored.
    pub(super) fn sparse(
        &mut self,
        entry: &Entry,
        size: u64,
        segments: Vec<Segment>,
        contents: &mut dyn Contents,
    ) -> Result<(), LayerError> {
        let segments = coarsen(segments);
        let data = stored(&segments);
        self.holes = self.holes.saturating_add(size - data);
        if self.holes > MAX_HOLES {
            return Err(LayerError::entry(&entry.path, EntryFault::Holes));
        }
        let map = map(&segments, size);
        let size_text = size.to_string();
        let records = [
            (&b"GNU.sparse.major"[..], &b"1"[..]),
            (b"GNU.sparse.minor", b"0"),
            (b"GNU.sparse.name", &entry.path),
            (b"GNU.sparse.realsize", size_text.as_bytes()),
        ];
        let records = records.map(|(key, value)| pax_record(key, value)).to_vec();
        let shown = [FOLDER, &name(entry)].concat();
        self.header(entry, shown, map.len() as u64 + data, records)?;
        self.write(&map)?;
        let mut contents = Skipping { contents, hole: 0 };
        let mut position = 0;
        for Segment { offset, length } in segments {
            self.skip(&entry.path, size, offset - position, &mut contents)?;
            self.copy(&entry.path, size, length, &mut contents)?;
            position = offset + length;
        }
        self.skip(&entry.path, size, size - position, &mut contents)?;
        self.ends(&entry.path, size, &mut contents)?;
        self.pad(data)
    }

    /// Skips `count` zeros.
    fn skip(
        &mut self,
        path: &[u8],
        size: u64,
        mut count: u64,
        contents: &mut Skipping<'_>,
    ) -> Result<(), LayerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        while count > 0 {
            let skipped = contents.skip(count).map_err(contents_fault(path))?;
            if skipped > 0 {
                count -= skipped;
                continue;
            }
            let most = usize::try_from(count).unwrap_or(BUFFER).min(BUFFER);
            match contents.read(&mut buffer[..most]) {
                Ok(read) if read > 0 && buffer[..read].iter().all(|&byte| byte == 0) => {
                    count -= read as u64;
                }
                Ok(_) => return Err(size_changed(path, size)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(contents_fault(path)(error)),
            }
        }
        self.buffer = buffer;
        Ok(())
    }
}

/// Contents whose holes may be skipped in parts.
struct Skipping<'c> {
    contents: &'c mut dyn Contents,
    /// Bytes left of the current hole.
    hole: u64,
}

impl Skipping<'_> {
    /// Skips at most `most` bytes of a hole, and returns how many.
    fn skip(&mut self, most: u64) -> io::Result<u64> {
        if self.hole == 0 {
            self.hole = self.contents.skip_hole()?;
        }
        let count = self.hole.min(most);
        self.hole -= count;
        Ok(count)
    }
}

impl Read for Skipping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.hole == 0 {
            return self.contents.read(buffer);
        }
        let count = usize::try_from(self.hole).unwrap_or(usize::MAX).min(buffer.len());
        buffer[..count].fill(0);
        self.hole -= count as u64;
        Ok(count)
    }
}

/// Fills the smallest holes until there are few enough parts.
fn coarsen(mut segments: Vec<Segment>) -> Vec<Segment> {
    let mut least = HOLE;
    while segments.len() > MAX_WRITTEN_SEGMENTS {
        least *= 2;
        let mut merged: Vec<Segment> = Vec::new();
        for segment in segments {
            match merged.last_mut() {
                Some(last) if segment.offset - (last.offset + last.length) < least => {
                    last.length = segment.offset + segment.length - last.offset;
                }
                _ => merged.push(segment),
            }
        }
        segments = merged;
    }
    segments
}

/// Returns the map that stands before the stored bytes, in whole blocks. An empty part at the end
/// says where a last hole ends.
fn map(segments: &[Segment], size: u64) -> Vec<u8> {
    let ends_in_hole = segments.last().is_none_or(|last| last.offset + last.length < size);
    let end = ends_in_hole.then_some(Segment { offset: size, length: 0 });
    let mut text = format!("{}\n", segments.len() + end.iter().count());
    for Segment { offset, length } in segments.iter().chain(&end) {
        text.push_str(&format!("{offset}\n{length}\n"));
    }
    let mut map = text.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

#[cfg(test)]
mod tests;
