//! Tar archives, compressed or not: telling them apart, and reading them.
//!
//! The contents decide whether a file is an archive, not its name. No programs of this machine are
//! started.

use std::io::{Cursor, Read};

use xbuild_layer::{LayerError, RawEntry, TarFault, TarReader, decode};
use xbuild_model::manifest::Compression;

/// KiB of memory that an xz stream may use. `xz -9` uses 65 MiB; bounds memory.
const MAX_XZ_MEMORY: u32 = 256 << 10;

/// The first bytes of a file, which tell the formats apart.
pub(crate) const SNIFFED: u64 = 6;

/// The compression of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Format {
    /// Returns the format of a file that begins with `head`.
    fn of(head: &[u8]) -> Self {
        const MAGIC: [(&[u8], Format); 4] = [
            (b"\x1f\x8b\x08", Format::Gzip),
            (b"BZh", Format::Bzip2),
            (b"\xfd7zXZ\0", Format::Xz),
            (b"\x28\xb5\x2f\xfd", Format::Zstd),
        ];
        let found = MAGIC.iter().find(|(magic, _)| head.starts_with(magic));
        let is_skippable =
            head.len() > 3 && head[0] & 0xf0 == 0x50 && head[1..4] == *b"\x2a\x4d\x18";
        match found {
            Some((_, format)) => *format,
            None if is_skippable => Self::Zstd,
            None => Self::Plain,
        }
    }
}

/// An archive that is being read.
#[derive(Debug)]
pub(crate) struct ArchiveReader<R> {
    /// The entries.
    pub(crate) tar: TarReader<R>,
    format: Format,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads what follows the last entry: behind it a gzip file has the check sum of all of them.
    ///
    /// Other formats are left where they are, since their readers take what follows for damage.
    pub(crate) fn finish(self) -> Result<(), LayerError> {
        match self.format {
            Format::Gzip => self.tar.finish().map(drop),
            Format::Plain | Format::Bzip2 | Format::Xz | Format::Zstd => Ok(()),
        }
    }
}

/// Opens an archive at its first entry. Its bytes are those of `head`, then those of `rest`.
pub(crate) fn read<'r>(
    head: Vec<u8>,
    rest: impl Read + Send + 'r,
) -> Result<ArchiveReader<Box<dyn Read + Send + 'r>>, LayerError> {
    let format = Format::of(&head);
    Ok(ArchiveReader { tar: TarReader::new(plain(head, rest)?), format })
}

/// Returns the bytes of a file that is compressed with gzip, bzip2, xz or zstd, or not at all.
pub fn decompressed<'r>(
    mut input: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    let mut head = Vec::new();
    input.by_ref().take(SNIFFED).read_to_end(&mut head).map_err(LayerError::from_read)?;
    plain(head, input)
}

fn plain<'r>(
    head: Vec<u8>,
    rest: impl Read + Send + 'r,
) -> Result<Box<dyn Read + Send + 'r>, LayerError> {
    let format = Format::of(&head);
    let input = Cursor::new(head).chain(rest);
    Ok(match format {
        Format::Plain => Box::new(input),
        Format::Gzip => decode::gunzip(input)?,
        Format::Zstd => decode::decompress(Compression::Zstd, input)?,
        Format::Bzip2 => {
            decode::bounded(input, |input| Ok(bzip2::bufread::MultiBzDecoder::new(input)))?
        }
        Format::Xz => decode::bounded(input, |input| {
            Ok(lzma_rust2::XzReader::new_mem_limit(input, true, MAX_XZ_MEMORY))
        })?,
    })
}

/// Returns whether a file that begins with `head` is meant as an archive: it is compressed, or
/// begins like a tar archive.
pub(crate) fn is_archive(head: &[u8]) -> bool {
    match Format::of(head) {
        Format::Plain => is_first_entry(TarReader::new(head).next()),
        _ => true,
    }
}

/// Returns whether this can be the first entry of an archive. Later faults are errors of the
/// unpacking.
pub(crate) fn is_first_entry(first: Result<Option<RawEntry>, LayerError>) -> bool {
    match first {
        Ok(Some(_)) | Err(LayerError::Entry { .. }) => true,
        // A correct checksum is not there by chance; without one, the bytes are not an archive.
        Err(LayerError::Malformed { fault, .. }) => !matches!(
            fault,
            TarFault::Checksum
                | TarFault::Number { field: "checksum" }
                | TarFault::Truncated
                | TarFault::LoneZeroBlock
        ),
        Ok(None) | Err(_) => false,
    }
}
