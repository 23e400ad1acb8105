//! Reading foreign blobs: verified, and decompressed within bounds.

use std::fmt;
use std::io::{self, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use xbuild_model::Digest;
use xbuild_model::manifest::Compression;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::LayerError;
use crate::gzip_read::Members;

/// How many bytes a blob may unpack to. Layers are written within the bound within which they are
/// read: nobody could use a larger one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Uncompressed bytes that any layer may have, however small its blob is.
    pub allowance: u64,
    /// The uncompressed size that a larger layer may have, in multiples of its compressed size.
    pub ratio: u64,
}

impl Default for Bound {
    /// Returns 16 GiB, more than usual layers have and few enough for a disk, and a ratio of 200:
    /// text compresses to a tenth, logs to a fiftieth, and only runs of zeros exceed it.
    fn default() -> Self {
        Self { allowance: 16 << 30, ratio: 200 }
    }
}

impl Bound {
    /// Returns the bytes that so many compressed bytes may unpack to.
    pub fn limit(self, compressed: u64) -> u64 {
        compressed.saturating_mul(self.ratio).max(self.allowance)
    }

    /// Checks that a blob that unpacks to `size` bytes can be read within the bound. The blob is
    /// read only if it is larger than the allowance.
    ///
    /// **Errors** — [`LayerError::Bomb`]; those of [`decompress`].
    pub fn check(
        self,
        size: u64,
        compression: Compression,
        blob: impl Read + Send,
    ) -> Result<(), LayerError> {
        if size <= self.allowance {
            return Ok(());
        }
        let mut tar = decompress_within(self, compression, blob)?;
        io::copy(&mut tar, &mut io::sink()).map(drop).map_err(LayerError::from_read)
    }
}

/// The window that a zstd frame may ask for: 2^27 bytes, the default limit of the zstd tools;
/// bounds memory.
const MAX_WINDOW_LOG: u32 = 27;

/// Bytes of compressed input read at a time.
const BUFFER: usize = 64 << 10;

/// Returns the uncompressed form of a blob. Several gzip members or zstd frames are one stream.
///
/// The size of the output is bounded by the size of the input. Beyond the bound, reading fails with
/// [`LayerError::Bomb`] inside the `io::Error`.
pub fn decompress<'r>(
    compression: Compression,
    blob: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    decompress_within(Bound::default(), compression, blob)
}

/// Returns the contents of a gzip file of a user's, as gzip(1) reads it: what follows the last member is
/// ignored. Bounded as by [`decompress`].
pub fn gunzip<'r>(file: impl Read + Send + 'r) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    bounded(file, |input| Ok(Members::new(input)))
}

/// Returns the uncompressed form of a blob whose first bytes say how it is compressed; see
/// [`decompress`].
pub fn decompress_any<'r>(
    mut blob: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    /// The size of a tar header.
    const HEAD: u64 = 512;
    let mut head = Vec::new();
    let read = blob.by_ref().take(HEAD).read_to_end(&mut head);
    read.map_err(LayerError::from_read)?;
    let compression = Compression::of_bytes(&head);
    decompress(compression, io::Cursor::new(head).chain(blob))
}

fn decompress_within<'r>(
    bound: Bound,
    compression: Compression,
    blob: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    match compression {
        Compression::None => Ok(Box::new(blob)),
        Compression::Gzip => within(bound, blob, |input| Ok(MultiGzDecoder::new(input))),
        Compression::Zstd => within(bound, blob, |input| {
            let mut decoder = ZstdDecoder::with_buffer(input).map_err(LayerError::from_read)?;
            decoder.window_log_max(MAX_WINDOW_LOG).map_err(LayerError::from_read)?;
            Ok(decoder)
        }),
    }
}

/// Returns the output of `decoder` for a blob, bounded as by [`decompress`].
pub fn bounded<'r, R: Read + Send + 'r, D: Read + Send + 'r>(
    blob: R,
    decoder: impl FnOnce(BufReader<Counted<R>>) -> Result<D, LayerError>,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    within(Bound::default(), blob, decoder)
}

fn within<'r, R: Read + Send + 'r, D: Read + Send + 'r>(
    bound: Bound,
    blob: R,
    decoder: impl FnOnce(BufReader<Counted<R>>) -> Result<D, LayerError>,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    let taken = Arc::new(AtomicU64::new(0));
    let input = BufReader::with_capacity(BUFFER, Counted { blob, taken: Arc::clone(&taken) });
    let output = decoder(input)?;
    Ok(Box::new(Bounded { output, taken, given: 0, bound }))
}

/// Counts the bytes that a decoder consumes.
#[derive(Debug)]
pub struct Counted<R> {
    blob: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.blob.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Stops a decoder whose output is too large for its input.
struct Bounded<R> {
    output: R,
    taken: Arc<AtomicU64>,
    given: u64,
    bound: Bound,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.output.read(buffer)?;
        self.given = self.given.saturating_add(count as u64);
        let compressed = self.taken.load(Ordering::Relaxed);
        let limit = self.bound.limit(compressed);
        if self.given > limit {
            let error = LayerError::Bomb { compressed, limit };
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        Ok(count)
    }
}

/// Passes a blob on and compares it with its descriptor. A blob that is too long fails as soon as
/// that is known, any other mismatch at the end. Publish nothing before the end was read without
/// error.
pub struct VerifyingReader<R> {
    input: R,
    hash: Sha256,
    seen: u64,
    digest: Digest,
    size: u64,
}

impl<R: Read> VerifyingReader<R> {
    /// Reads `input`, which must have `size` bytes and the digest `digest`.
    pub fn new(input: R, digest: &Digest, size: u64) -> Self {
        Self { input, hash: Sha256::new(), seen: 0, digest: digest.clone(), size }
    }

    /// Reads the rest, and returns the input if it matches the descriptor.
    ///
    /// **Errors** — [`LayerError::Mismatch`], [`LayerError::Read`].
    pub fn finish(mut self) -> Result<R, LayerError> {
        io::copy(&mut self, &mut io::sink()).map_err(LayerError::from_read)?;
        Ok(self.input)
    }

    fn check(&self) -> io::Result<()> {
        let actual = Digest::from_sha256(self.hash.clone().finalize().into());
        if self.seen == self.size && actual == self.digest {
            return Ok(());
        }
        let error = LayerError::Mismatch {
            expected: self.digest.clone(),
            expected_size: self.size,
            actual,
            actual_size: self.seen,
        };
        Err(io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.seen += count as u64;
        let at_end = count == 0 && !buffer.is_empty();
        if at_end || self.seen > self.size {
            self.check()?;
        }
        Ok(count)
    }
}

impl<R> fmt::Debug for VerifyingReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingReader")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::gzip::{GzipWriter, LEVEL};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), LEVEL);
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(bytes, 1).unwrap()
    }

    fn unpack(compression: Compression, blob: &[u8]) -> Result<Vec<u8>, LayerError> {
        let mut out = Vec::new();
        decompress(compression, blob)?.read_to_end(&mut out).map_err(LayerError::from_read)?;
        Ok(out)
    }

    #[test]
    fn blobs_are_decompressed() {
        let text = b"some text ".repeat(1000);
        assert_eq!(unpack(Compression::None, &text).unwrap(), text);
        assert_eq!(unpack(Compression::Gzip, &gzip(&text)).unwrap(), text);
        assert_eq!(unpack(Compression::Zstd, &zstd(&text)).unwrap(), text);
        let twice = text.repeat(2);
        assert_eq!(unpack(Compression::Gzip, &gzip(&text).repeat(2)).unwrap(), twice);
        assert_eq!(unpack(Compression::Zstd, &zstd(&text).repeat(2)).unwrap(), twice);
    }

    #[test]
    fn the_first_bytes_say_how_a_blob_is_compressed() {
        // A name that looks like gzip is a name all the same.
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..4].copy_from_slice(&[0x1f, 0x8b, 8, 0]);
        header.set_size(0);
        header.set_cksum();
        let odd = [&header.as_bytes()[..], &[0; 1024]].concat();
        let text = b"some text ".repeat(1000);
        for plain in [&odd[..], &text, b"", b"\x1f"] {
            for blob in [plain.to_vec(), gzip(plain), zstd(plain)] {
                let mut out = Vec::new();
                decompress_any(&blob[..]).unwrap().read_to_end(&mut out).unwrap();
                assert_eq!(out, plain);
            }
        }
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7][..], &zstd(&text)].concat();
        let mut out = Vec::new();
        decompress_any(&skipped[..]).unwrap().read_to_end(&mut out).unwrap();
        assert_eq!(out, text);
    }

    /// Row 28 of the threat table.
    #[test]
    fn damaged_blobs_are_errors() {
        let text = b"some text that is compressed".repeat(1000);
        for (compression, blob) in
            [(Compression::Gzip, gzip(&text)), (Compression::Zstd, zstd(&text))]
        {
            for length in [1, 5, blob.len() / 2, blob.len() - 1] {
                assert!(unpack(compression, &blob[..length]).is_err(), "{compression:?} {length}");
            }
            let mut garbage = blob.clone();
            garbage.extend_from_slice(b"garbage");
            assert!(unpack(compression, &garbage).is_err(), "{compression:?}");
        }
        let mut flipped = gzip(&text);
        let crc = flipped.len() - 6;
        flipped[crc] ^= 1;
        assert!(unpack(Compression::Gzip, &flipped).is_err());
        assert!(unpack(Compression::Gzip, &zstd(&text)).is_err());
        assert!(unpack(Compression::Gzip, b"").is_err());
    }

    /// Row 31 of the threat table.
    #[test]
    fn bombs_are_stopped() {
        let bounded = |bytes: &[u8], allowance| {
            let taken = Arc::new(AtomicU64::new(0));
            let blob = Counted { blob: io::Cursor::new(zstd(bytes)), taken: Arc::clone(&taken) };
            let output = ZstdDecoder::new(blob).unwrap();
            let bound = Bound { allowance, ..Bound::default() };
            io::copy(&mut Bounded { output, taken, given: 0, bound }, &mut io::sink())
        };
        let zeros = vec![0; 10 << 20];
        assert!(bounded(&zeros, 20 << 20).is_ok());
        let error = LayerError::from_read(bounded(&zeros, 1 << 20).unwrap_err());
        assert!(matches!(error, LayerError::Bomb { .. }), "{error}");
        let text: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        assert!(bounded(&text, 1 << 20).is_ok());
    }

    #[test]
    fn a_writer_refuses_what_a_reader_would_refuse() {
        let bound = Bound { allowance: 1 << 20, ratio: 200 };
        let zeros = vec![0; 3 << 20];
        let noise: Vec<u8> = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
        let behind = [&vec![0; 16 << 20][..], &noise].concat();
        let before = [&noise[..], &zeros].concat();
        for (bytes, is_allowed) in
            [(&zeros[..1 << 20], true), (&zeros, false), (&noise, true), (&before, true)]
        {
            for (compression, blob) in
                [(Compression::Gzip, gzip(bytes)), (Compression::Zstd, zstd(bytes))]
            {
                let checked = bound.check(bytes.len() as u64, compression, &blob[..]);
                assert_eq!(checked.is_ok(), is_allowed, "{compression:?} {checked:?}");
            }
            let size = bytes.len() as u64;
            assert!(bound.check(size, Compression::None, bytes).is_ok());
        }
        // A reader stops at the zeros, and does not see what comes after them.
        let size = behind.len() as u64;
        assert!(size < bound.limit(zstd(&behind).len() as u64));
        let checked = bound.check(size, Compression::Gzip, &gzip(&behind)[..]);
        assert!(matches!(checked, Err(LayerError::Bomb { .. })), "{checked:?}");
    }

    /// Row 32 of the threat table.
    #[test]
    fn large_zstd_windows_are_refused() {
        // A frame header without a content size that asks for a window of 2^(10 + exponent) bytes,
        // and one raw block of one byte.
        let frame = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 9, 0, 0, b'x'];
        assert_eq!(unpack(Compression::Zstd, &frame(17)).unwrap(), b"x");
        assert!(unpack(Compression::Zstd, &frame(18)).is_err());
        assert!(unpack(Compression::Zstd, &frame(21)).is_err());
    }

    #[test]
    fn verified_blobs_are_what_was_announced() {
        let bytes = b"the bytes";
        let read = |bytes: &[u8], digest: &Digest, size| {
            VerifyingReader::new(bytes, digest, size).finish().map(|_| ())
        };
        let digest = Digest::of(bytes);
        assert!(read(bytes, &digest, 9).is_ok());
        for result in [
            read(bytes, &digest, 8),
            read(bytes, &digest, 10),
            read(b"the bytez", &digest, 9),
            read(b"", &digest, 9),
            read(b"the bytes and more", &digest, 9),
            read(bytes, &digest, u64::MAX),
        ] {
            assert!(matches!(result, Err(LayerError::Mismatch { .. })));
        }
        // An endless body is noticed at once.
        let mut endless = VerifyingReader::new(io::repeat(0), &digest, 9);
        assert!(endless.read(&mut [0; 100]).is_err());
    }
}
