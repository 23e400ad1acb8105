//! Sparse files: their stored parts, and where these belong.
//!
//! **Source** — GNU tar manual § Storing Sparse Files: the old GNU format and PAX 0.0, 0.1, 1.0.

use tar::GnuSparseHeader;

use crate::{Segment, TarFault};

use super::header::BLOCK;
use super::numbers::{number, unsigned};

/// Segments of one file: a map of 1 MiB, far more than a file system makes of one file; bounds
/// memory.
const MAX_SEGMENTS: usize = 65_536;

/// The stored parts of a file. The rest are holes, which read as zeros.
#[derive(Debug, Default)]
pub(super) struct SparseMap {
    segments: Vec<Segment>,
}

impl SparseMap {
    /// Appends the segments of an old GNU header or extension block, up to the first empty field.
    pub(super) fn add_old(&mut self, segments: &[GnuSparseHeader]) -> Result<(), TarFault> {
        for GnuSparseHeader { offset, numbytes } in segments {
            if offset[0] == 0 || numbytes[0] == 0 {
                break;
            }
            let read = |field| number(field).and_then(|value| u64::try_from(value).ok());
            let (offset, length) = read(offset).zip(read(numbytes)).ok_or(TarFault::SparseMap)?;
            self.add(Segment { offset, length })?;
        }
        Ok(())
    }

    /// Appends a segment.
    pub(super) fn add(&mut self, segment: Segment) -> Result<(), TarFault> {
        if self.segments.len() >= MAX_SEGMENTS {
            let limit = (MAX_SEGMENTS * size_of::<Segment>()) as u64;
            return Err(TarFault::TooLong { what: "the map of a sparse file", limit });
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Checks the map of a file of `size` bytes, with `stored` bytes in the archive, and returns
    /// the segments.
    pub(super) fn check(self, size: u64, stored: u64) -> Result<Vec<Segment>, TarFault> {
        let mut end = 0;
        let mut sum = 0_u64;
        for segment in &self.segments {
            if segment.offset < end {
                return Err(TarFault::SparseMap);
            }
            end = segment.offset.checked_add(segment.length).ok_or(TarFault::SparseMap)?;
            sum = sum.checked_add(segment.length).ok_or(TarFault::SparseMap)?;
        }
        if end > size || sum != stored {
            return Err(TarFault::SparseMap);
        }
        Ok(self.segments)
    }
}

/// The `GNU.sparse.*` records of an extended header.
#[derive(Debug, Default)]
pub(super) struct SparseRecords {
    pub(super) name: Option<Vec<u8>>,
    major: Option<u64>,
    minor: Option<u64>,
    size: Option<u64>,
    count: Option<u64>,
    /// Offsets and lengths, in turn.
    numbers: Vec<u64>,
}

/// Where the map of a file with sparse records is.
pub(super) enum MapPlace {
    /// In the records.
    Here(SparseMap),
    /// At the beginning of the stored contents.
    InContents,
}

impl SparseRecords {
    /// Takes a record, whose `name` is without the common prefix; returns `None` if its value is
    /// bad.
    pub(super) fn add(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        match name {
            b"name" if !value.is_empty() && !value.contains(&0) => self.name = Some(value.to_vec()),
            b"name" => return None,
            b"major" => self.major = Some(unsigned(value)?),
            b"minor" => self.minor = Some(unsigned(value)?),
            b"size" | b"realsize" if self.size.is_none() => self.size = Some(unsigned(value)?),
            b"numblocks" => self.count = Some(unsigned(value)?),
            b"offset" if self.numbers.len().is_multiple_of(2) => {
                self.numbers.push(unsigned(value)?);
            }
            b"numbytes" if !self.numbers.len().is_multiple_of(2) => {
                self.numbers.push(unsigned(value)?);
            }
            b"map" if self.numbers.is_empty() => {
                for number in value.split(|&byte| byte == b',') {
                    self.numbers.push(unsigned(number)?);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Returns the size of the file in bytes, holes included, and its map.
    pub(super) fn map(self) -> Result<(u64, MapPlace), TarFault> {
        let size = self.size.ok_or(TarFault::SparseMap)?;
        match (self.major, self.minor) {
            (Some(1), Some(0)) if self.numbers.is_empty() => Ok((size, MapPlace::InContents)),
            (None, None) | (Some(0), Some(0 | 1)) => {
                let mut map = SparseMap::default();
                let pairs = self.numbers.chunks_exact(2);
                let count = pairs.len() as u64;
                if !pairs.remainder().is_empty() || self.count.is_some_and(|told| told != count) {
                    return Err(TarFault::SparseMap);
                }
                for pair in pairs {
                    map.add(Segment { offset: pair[0], length: pair[1] })?;
                }
                Ok((size, MapPlace::Here(map)))
            }
            _ => Err(TarFault::SparseMap),
        }
    }
}

/// Reads a map at the beginning of the contents. It has a decimal number on each line, the first of
/// them the number of segments, and is padded with zeros to the end of the block.
pub(super) struct ContentsMap {
    map: SparseMap,
    /// Numbers still to come; `None` before the first.
    left: Option<u64>,
    digits: Vec<u8>,
    offset: Option<u64>,
}

impl ContentsMap {
    pub(super) fn new() -> Self {
        Self { map: SparseMap::default(), left: None, digits: Vec::new(), offset: None }
    }

    /// Takes the next block; returns whether the map ended in it.
    pub(super) fn add(&mut self, block: &[u8; BLOCK]) -> Result<bool, TarFault> {
        for &byte in block {
            if self.left == Some(0) {
                break;
            }
            if byte != b'\n' {
                // No number that fits has more digits.
                if self.digits.len() >= 20 {
                    return Err(TarFault::SparseMap);
                }
                self.digits.push(byte);
                continue;
            }
            let number = unsigned(&self.digits).ok_or(TarFault::SparseMap)?;
            self.digits.clear();
            match self.left {
                None if number > MAX_SEGMENTS as u64 => {
                    let limit = (MAX_SEGMENTS * size_of::<Segment>()) as u64;
                    return Err(TarFault::TooLong { what: "the map of a sparse file", limit });
                }
                None => self.left = Some(number * 2),
                Some(left) => {
                    self.left = Some(left - 1);
                    match self.offset.take() {
                        None => self.offset = Some(number),
                        Some(offset) => self.map.add(Segment { offset, length: number })?,
                    }
                }
            }
        }
        Ok(self.left == Some(0))
    }

    pub(super) fn finish(self) -> SparseMap {
        self.map
    }
}
