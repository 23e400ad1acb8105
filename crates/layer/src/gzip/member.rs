//! A block of a layer as a gzip member.

use std::io;

use libdeflater::{CompressionError, CompressionLvl, Compressor, crc32};

/// Bytes of a block. Smaller blocks cost size, because matches end at a block; larger ones cost
/// memory (twice this for each block in flight) and parallelism in small layers. **Changing it
/// changes the digest of every layer.**
pub(super) const BLOCK: usize = 1 << 20;

/// The default compression level, see `docs/decisions/0006-deflate.md`. **Changing it changes the
/// digest of every layer.**
pub(crate) const LEVEL: u32 = 3;

/// A member up to its length: deflate, an extra field, no name, no time, an unknown operating
/// system; then the length of the extra field, the identifier of its one part, and the length of
/// that part.
pub(super) const HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'X', b'B', 4, 0];

/// Bytes before the deflate stream of a member: the header and the member's length.
pub(super) const HEADER_SIZE: usize = HEADER.len() + 4;

/// Bytes after the deflate stream of a member: the checksum and size of its contents.
const TRAILER_SIZE: usize = 8;

/// The library's level for blocks that it compresses nearly as well as [`LEVEL`], in half the time.
/// **Changing it or the constants below changes the digests of layers.**
const FAST: u32 = 1;

/// Bytes in the middle of a block for which the two levels are compared.
const SAMPLE: usize = 16 << 10;

/// How much larger [`FAST`] may make the sample, in percent.
const TOLERANCE: usize = 3;

/// Makes members. Each depends on its block alone, not on earlier ones.
pub(super) struct Members {
    level: u32,
    compressor: Compressor,
    fast: Compressor,
    /// Room for a block in the making.
    buffer: Vec<u8>,
    /// The member of a full block of zeros: sparse files have many.
    hole: Option<Vec<u8>>,
}

impl Members {
    /// Makes members of a level: 0 stores, 9 compresses most.
    pub(super) fn new(level: u32) -> Self {
        let (compressor, fast) = (compressor(level), compressor(FAST));
        Self { level, compressor, fast, buffer: Vec::new(), hole: None }
    }

    /// Returns the member that holds `block`.
    pub(super) fn make(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let is_hole = block.len() == BLOCK && block.iter().all(|byte| *byte == 0);
        if is_hole && let Some(hole) = &self.hole {
            return Ok(hole.clone());
        }
        let member = self.compress(block)?;
        if is_hole {
            self.hole = Some(member.clone());
        }
        Ok(member)
    }

    fn compress(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let is_fast = self.level == LEVEL && self.is_for_fast(block)?;
        let compressor = if is_fast { &mut self.fast } else { &mut self.compressor };
        let size = deflate(compressor, block, &mut self.buffer)?;
        let length = HEADER_SIZE + size + TRAILER_SIZE;
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&HEADER);
        bytes.extend_from_slice(&number(length)?.to_le_bytes());
        bytes.extend_from_slice(&self.buffer[..size]);
        bytes.extend_from_slice(&crc32(block).to_le_bytes());
        bytes.extend_from_slice(&number(block.len())?.to_le_bytes());
        Ok(bytes)
    }

    /// Returns whether the fast level compresses a block nearly as well, judged by a sample.
    fn is_for_fast(&mut self, block: &[u8]) -> io::Result<bool> {
        let middle = block.len() / 2;
        let Some(sample) = block.get(middle..middle + SAMPLE) else { return Ok(false) };
        let usual = deflate(&mut self.compressor, sample, &mut self.buffer)?;
        let fast = deflate(&mut self.fast, sample, &mut self.buffer)?;
        Ok(fast * 100 <= usual * (100 + TOLERANCE))
    }
}

fn compressor(level: u32) -> Compressor {
    let level = i32::try_from(level.min(9)).unwrap_or_default();
    Compressor::new(CompressionLvl::new(level).expect("the library has the levels 0 to 12"))
}

/// Compresses to `output`, which grows as needed, and returns the compressed size.
fn deflate(compressor: &mut Compressor, input: &[u8], output: &mut Vec<u8>) -> io::Result<usize> {
    let bound = compressor.deflate_compress_bound(input.len());
    if output.len() < bound {
        output.resize(bound, 0);
    }
    compressor.deflate_compress(input, output).map_err(|error| match error {
        CompressionError::InsufficientSpace => io::Error::other("a block grew beyond its bound"),
    })
}

fn number(size: usize) -> io::Result<u32> {
    u32::try_from(size).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of 4 to 8 bytes that differ little, as in a program's tables: the longer search
    /// pays.
    fn table() -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes = Vec::new();
        while bytes.len() < BLOCK {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(&(state >> 24).to_le_bytes());
            bytes.extend_from_slice(&[0, (state >> 30) as u8, 1]);
        }
        bytes.truncate(BLOCK);
        bytes
    }

    fn size(level: u32, block: &[u8]) -> usize {
        let size = deflate(&mut compressor(level), block, &mut Vec::new()).unwrap();
        HEADER_SIZE + size + TRAILER_SIZE
    }

    #[test]
    fn the_fast_level_takes_what_it_makes_hardly_larger() {
        let noise: Vec<u8> = {
            let mut state = 1_u64;
            let next = |_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8
            };
            (0..BLOCK).map(next).collect()
        };
        let mut members = Members::new(LEVEL);
        for (block, level) in [(noise, FAST), (table(), LEVEL)] {
            assert_ne!(size(FAST, &block), size(LEVEL, &block));
            assert_eq!(members.make(&block).unwrap().len(), size(level, &block));
        }
    }
}
