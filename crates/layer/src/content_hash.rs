//! Hashes of the contents of files, and the holes that are found on the way.
//!
//! The hash of a file is the SHA-256 of its bytes. Files of [`LARGE`] bytes and more may be nearly
//! all hole, and hashing a terabyte of zeros takes a quarter of an hour. So the hash of such a file
//! leaves out aligned pieces of zeros, each of [`HOLE`] bytes, and covers the places of the others.
//! It depends on the bytes alone, whether the zeros are holes on a disk or not.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256, Sha512_256};

use crate::contents::stored;
use crate::limits::{HOLE, LARGE};
use crate::{ContentHash, Contents, Segment};

/// Zeros to hash where a piece is not all zeros.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Hashes a file, piece by piece.
#[derive(Debug)]
pub struct ContentHasher {
    /// Hashes the bytes that are not left out.
    bytes: Sha256,
    /// The pieces of a large file; `None` for others.
    pieces: Option<Pieces>,
}

#[derive(Debug, Default)]
struct Pieces {
    /// Bytes seen.
    position: u64,
    /// Bytes of the current piece that are all zeros and not yet hashed.
    zeros: u64,
    /// Whether the current piece has another byte than zero.
    has_data: bool,
    /// The pieces with data so far. Neighbours are one.
    segments: Vec<Segment>,
}

/// A file that was hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedContents {
    /// The hash.
    pub hash: ContentHash,
    /// The parts that are not holes, if the file has holes of [`LARGE`] bytes or more.
    pub segments: Option<Vec<Segment>>,
}

impl ContentHasher {
    /// Begins with a file of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { bytes: Sha256::new(), pieces: (size >= LARGE).then(Pieces::default) }
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let Some(pieces) = &mut self.pieces else { return self.bytes.update(bytes) };
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(pieces.clip(bytes.len() as u64));
            bytes = rest;
            if pieces.has_data || part.iter().any(|&byte| byte != 0) {
                hash_zeros(&mut self.bytes, std::mem::take(&mut pieces.zeros));
                self.bytes.update(part);
                pieces.has_data = true;
            } else {
                pieces.zeros += part.len() as u64;
            }
            pieces.advance(part.len() as u64);
        }
    }

    /// Adds `count` zeros.
    pub fn zeros(&mut self, mut count: u64) {
        let Some(pieces) = &mut self.pieces else { return hash_zeros(&mut self.bytes, count) };
        while count > 0 {
            if pieces.position.is_multiple_of(HOLE) && count >= HOLE {
                let whole = count - count % HOLE;
                pieces.position += whole;
                count -= whole;
                continue;
            }
            let part = pieces.clip(count) as u64;
            if pieces.has_data {
                hash_zeros(&mut self.bytes, part);
            } else {
                pieces.zeros += part;
            }
            pieces.advance(part);
            count -= part;
        }
    }

    /// Returns the hash of all bytes, and their holes.
    pub fn finish(self) -> HashedContents {
        let hash: [u8; 32] = self.bytes.finalize().into();
        let plain = |hash| HashedContents { hash: ContentHash(hash), segments: None };
        let Some(mut pieces) = self.pieces else { return plain(hash) };
        pieces.end_piece();
        let holes = pieces.position - stored(&pieces.segments);
        if holes == 0 {
            return plain(hash);
        }
        // Another function than that of plain files, so that no contents give the same hash.
        let mut all = Sha512_256::new_with_prefix(hash);
        all.update(pieces.position.to_le_bytes());
        for Segment { offset, length } in &pieces.segments {
            all.update(offset.to_le_bytes());
            all.update(length.to_le_bytes());
        }
        let hash = ContentHash(all.finalize().into());
        HashedContents { hash, segments: (holes >= LARGE).then_some(pieces.segments) }
    }
}

impl Pieces {
    /// Returns how many of `count` bytes belong to the current piece.
    fn clip(&self, count: u64) -> usize {
        // At most the bytes of a piece, which fit.
        (HOLE - self.position % HOLE).min(count) as usize
    }

    fn advance(&mut self, count: u64) {
        self.position += count;
        if self.position.is_multiple_of(HOLE) {
            self.end_piece();
        }
    }

    fn end_piece(&mut self) {
        self.zeros = 0;
        if !std::mem::take(&mut self.has_data) {
            return;
        }
        let offset = (self.position - 1) / HOLE * HOLE;
        let length = self.position - offset;
        match self.segments.last_mut() {
            Some(last) if last.offset + last.length == offset => last.length += length,
            _ => self.segments.push(Segment { offset, length }),
        }
    }
}

fn hash_zeros(hash: &mut Sha256, mut count: u64) {
    while count > 0 {
        let part = count.min(ZEROS.len() as u64);
        // It fits, as a part of an array.
        hash.update(&ZEROS[..part as usize]);
        count -= part;
    }
}

/// Hashes the bytes that are read through it.
#[derive(Debug)]
pub struct Hashing<C> {
    contents: C,
    hash: ContentHasher,
}

impl<C: Contents> Hashing<C> {
    /// Hashes the `size` bytes that are read from `contents`.
    pub fn new(contents: C, size: u64) -> Self {
        Self { contents, hash: ContentHasher::new(size) }
    }

    /// Returns the hash of the bytes read so far, and their holes.
    pub fn finish(self) -> HashedContents {
        self.hash.finish()
    }

    /// Reads everything. Uses `buffer` for that.
    pub fn read_all(mut self, buffer: &mut [u8]) -> io::Result<HashedContents> {
        loop {
            if self.skip_hole()? > 0 {
                continue;
            }
            match self.read(buffer) {
                Ok(0) => return Ok(self.finish()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl<C: Contents> Read for Hashing<C> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.contents.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

impl<C: Contents> Contents for Hashing<C> {
    fn skip_hole(&mut self) -> io::Result<u64> {
        let count = self.contents.skip_hole()?;
        self.hash.zeros(count);
        Ok(count)
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        self.contents.segments()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Segment = Segment { offset: 5 * HOLE, length: HOLE };

    fn hashed(size: u64, add: impl FnOnce(&mut ContentHasher)) -> HashedContents {
        let mut hasher = ContentHasher::new(size);
        add(&mut hasher);
        hasher.finish()
    }

    #[test]
    fn small_files_have_the_hash_of_their_bytes() {
        let bytes = vec![0; 3 << 20];
        let expected = ContentHash(Sha256::digest(&bytes).into());
        let found = hashed(3 << 20, |hasher| {
            hasher.update(&bytes[..77]);
            hasher.zeros((3 << 20) - 77);
        });
        assert_eq!(found, HashedContents { hash: expected, segments: None });
    }

    #[test]
    fn a_hash_is_the_same_for_holes_and_for_zeros() {
        let size = LARGE + 6 * HOLE + 7;
        let skipped = hashed(size, |hasher| {
            hasher.zeros(5 * HOLE + 100);
            hasher.update(b"data");
            hasher.zeros(size - 5 * HOLE - 104);
        });
        let read = hashed(size, |hasher| {
            let zeros = vec![0; 3 * HOLE as usize / 2];
            let give = |hasher: &mut ContentHasher, mut left: u64| {
                while left > 0 {
                    let part = left.min(zeros.len() as u64);
                    hasher.update(&zeros[..part as usize]);
                    left -= part;
                }
            };
            give(hasher, 5 * HOLE + 100);
            hasher.update(b"data");
            give(hasher, size - 5 * HOLE - 104);
        });
        assert_eq!(skipped, read);
        assert_eq!(skipped.segments.unwrap(), [DATA]);
        let elsewhere = hashed(size, |hasher| {
            hasher.zeros(6 * HOLE + 100);
            hasher.update(b"data");
            hasher.zeros(size - 6 * HOLE - 104);
        });
        let longer = hashed(size, |hasher| {
            hasher.zeros(5 * HOLE + 100);
            hasher.update(b"data");
            hasher.zeros(size - 5 * HOLE - 103);
        });
        assert!(elsewhere.hash != skipped.hash && longer.hash != skipped.hash);
        assert_ne!(elsewhere.hash, longer.hash);
    }

    #[test]
    fn a_terabyte_of_holes_takes_no_time() {
        let found = hashed(1 << 40, |hasher| {
            hasher.zeros((1 << 40) - 1);
            hasher.update(b"x");
        });
        let last = Segment { offset: (1 << 40) - HOLE, length: HOLE };
        assert_eq!(found.segments.unwrap(), [last]);
    }

    #[test]
    fn large_files_without_holes_have_the_hash_of_their_bytes() {
        let bytes = vec![7; HOLE as usize + 5];
        let found = hashed(LARGE, |hasher| hasher.update(&bytes));
        assert_eq!(found.hash, ContentHash(Sha256::digest(&bytes).into()));
    }
}
