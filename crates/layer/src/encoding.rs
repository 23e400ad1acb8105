//! How layer blobs are compressed: the choice, and the writer that compresses.

use std::fmt;
use std::io::{self, Write};

use xbuild_model::manifest::Compression;

use crate::gzip::{self, GzipWriter};
use crate::zstd_write::ZstdWriter;

/// The default zstd level, which is that of the zstd tools. **Changing it changes the digests of
/// zstd layers.**
const ZSTD_LEVEL: u32 = 3;

/// The zstd level of layers that no image contains.
const PASSING_LEVEL: u32 = 1;

/// The highest zstd level.
const MAX_ZSTD_LEVEL: u32 = 22;

/// How a layer's blob is compressed. Equal layers in equal encodings are equal blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    compression: Compression,
    level: u32,
}

impl Default for Encoding {
    /// Returns gzip at its default level.
    fn default() -> Self {
        Self { compression: Compression::Gzip, level: gzip::LEVEL }
    }
}

impl Encoding {
    /// Returns an encoding with a level, or with the default level; `None` if the compression has
    /// no such level.
    ///
    /// gzip has the levels 0 to 9; zstd has 1 to 22, and 0 for its default; no compression has no
    /// level.
    pub fn new(compression: Compression, level: Option<u32>) -> Option<Self> {
        let level = match (compression, level) {
            (Compression::None, None) => 0,
            (Compression::Gzip, None) => gzip::LEVEL,
            (Compression::Gzip, Some(level)) if level <= 9 => level,
            (Compression::Zstd, None | Some(0)) => ZSTD_LEVEL,
            (Compression::Zstd, Some(level)) if level <= MAX_ZSTD_LEVEL => level,
            _ => return None,
        };
        Some(Self { compression, level })
    }

    /// Returns the encoding of layers that stay in this store. It is two to three times as fast as
    /// the default encoding, and its output is smaller.
    pub fn passing() -> Self {
        Self { compression: Compression::Zstd, level: PASSING_LEVEL }
    }

    /// Returns the compression.
    pub fn compression(self) -> Compression {
        self.compression
    }
}

impl fmt::Display for Encoding {
    /// Writes the name that the store uses: `tar`, `gzip-3`, `zstd-3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.compression {
            Compression::None => f.write_str("tar"),
            Compression::Gzip => write!(f, "gzip-{}", self.level),
            Compression::Zstd => write!(f, "zstd-{}", self.level),
        }
    }
}

/// Compresses its input. The output depends on the input and the encoding only.
pub struct Encoder<W: Write>(Writer<W>);

/// The writer of each compression.
enum Writer<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Zstd(ZstdWriter<W>),
}

impl<W: Write> Encoder<W> {
    /// Compresses to `output`, on several threads.
    pub fn new(output: W, encoding: Encoding) -> io::Result<Self> {
        Ok(Self(match encoding.compression {
            Compression::None => Writer::None(output),
            Compression::Gzip => Writer::Gzip(GzipWriter::new(output, encoding.level)),
            Compression::Zstd => Writer::Zstd(ZstdWriter::new(output, encoding.level)?),
        }))
    }

    /// Compresses the rest and returns the output, not flushed.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Writer::None(output) => Ok(output),
            Writer::Gzip(writer) => writer.finish(),
            Writer::Zstd(writer) => writer.finish(),
        }
    }
}

impl<W: Write> fmt::Debug for Encoder<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let compression = match &self.0 {
            Writer::None(_) => Compression::None,
            Writer::Gzip(_) => Compression::Gzip,
            Writer::Zstd(_) => Compression::Zstd,
        };
        f.debug_tuple("Encoder").field(&compression).finish()
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Writer::None(output) => output.write(bytes),
            Writer::Gzip(writer) => writer.write(bytes),
            Writer::Zstd(writer) => writer.write(bytes),
        }
    }

    /// Does nothing: the output must not depend on when it is flushed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::decode::decompress;
    use crate::gzip::tests::sample;

    const ALL: [(Compression, Option<u32>); 7] = [
        (Compression::None, None),
        (Compression::Gzip, Some(0)),
        (Compression::Gzip, Some(1)),
        (Compression::Gzip, Some(9)),
        (Compression::Zstd, None),
        (Compression::Zstd, Some(1)),
        (Compression::Zstd, Some(22)),
    ];

    #[test]
    fn what_is_encoded_can_be_read() {
        let bytes = sample(1 << 20);
        for (compression, level) in ALL {
            let encoding = Encoding::new(compression, level).unwrap();
            let mut encoder = Encoder::new(Vec::new(), encoding).unwrap();
            encoder.write_all(&bytes).unwrap();
            let blob = encoder.finish().unwrap();
            let mut back = Vec::new();
            decompress(compression, &blob[..]).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{encoding}");
            let is_smaller = blob.len() < bytes.len();
            assert_eq!(
                is_smaller,
                !matches!((compression, level), (_, Some(0)) | (Compression::None, _))
            );
        }
    }

    #[test]
    fn levels_are_those_of_the_format() {
        let new = |compression, level| Encoding::new(compression, Some(level));
        assert_eq!(new(Compression::Gzip, 3), Some(Encoding::default()));
        assert_eq!(new(Compression::Zstd, 0), Encoding::new(Compression::Zstd, None));
        assert_eq!(new(Compression::Gzip, 10), None);
        assert_eq!(new(Compression::Zstd, 23), None);
        assert_eq!(new(Compression::None, 1), None);
        assert_eq!(new(Compression::Zstd, 22).unwrap().to_string(), "zstd-22");
    }
}
