//! The errors of reading and writing layers.

use std::fmt;
use std::io;

use xbuild_model::Digest;
use xbuild_wording::quoted;

/// A path from an archive. It may hold any bytes, so it is shown escaped and shortened.
#[derive(Clone, PartialEq, Eq)]
pub struct ShownPath(pub Vec<u8>);

/// A failure to read or write a layer or another archive.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayerError {
    /// The input of the archive failed.
    #[error("cannot read the archive")]
    Read {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The output of the archive failed.
    #[error("cannot write the archive")]
    Write {
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The archive is malformed, or has a form that xbuild refuses.
    #[error("malformed tar archive at byte {offset}: {fault}")]
    Malformed {
        /// The offset of the header, in bytes from the start of the uncompressed archive.
        offset: u64,
        /// The fault.
        fault: TarFault,
    },
    /// An entry is well formed, but not allowed in a layer.
    #[error("archive entry {path}: {fault}")]
    Entry {
        /// Its name.
        path: ShownPath,
        /// The fault.
        fault: EntryFault,
    },
    /// A file is longer or shorter than announced.
    #[error("{path} is no longer {expected} bytes long")]
    SizeChanged {
        /// The file.
        path: ShownPath,
        /// The bytes announced.
        expected: u64,
    },
    /// The contents of a file could not be read while it was being written to a layer.
    #[error("cannot read {path}")]
    Contents {
        /// The file.
        path: ShownPath,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A blob does not match its descriptor.
    #[error(
        "expected {expected} with {expected_size} bytes, got {actual} with {actual_size} bytes"
    )]
    Mismatch {
        /// The digest announced.
        expected: Digest,
        /// The size announced, in bytes.
        expected_size: u64,
        /// The digest of the bytes read. If there were too many, only the first ones were read.
        actual: Digest,
        /// The number of bytes read.
        actual_size: u64,
    },
    /// A layer unpacks to more bytes than any honest layer.
    #[error("{compressed} compressed bytes unpack to more than {limit} bytes")]
    Bomb {
        /// The compressed bytes read so far.
        compressed: u64,
        /// The uncompressed bytes that they may hold.
        limit: u64,
    },
    /// A stored layer index cannot be read.
    #[error("unreadable layer index: {fault}")]
    Index {
        /// The fault.
        fault: IndexFault,
    },
}

/// Why an archive is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TarFault {
    /// The stream ends within an entry.
    #[error("the archive is cut short")]
    Truncated,
    /// A header's checksum is wrong.
    #[error("wrong header checksum")]
    Checksum,
    /// The archive goes on after a single block of zeros.
    #[error("a lone zero block")]
    LoneZeroBlock,
    /// A numeric field holds no number, or a number out of range.
    #[error("bad number in the field {field}")]
    Number {
        /// The field.
        field: &'static str,
    },
    /// The type of an entry is unknown or unsupported.
    #[error("unsupported entry type '{}'", flag.escape_default())]
    Type {
        /// The type flag.
        flag: char,
    },
    /// An extended header cannot be parsed.
    #[error("malformed extended header record")]
    PaxRecord,
    /// A key occurs twice in an extended header.
    #[error("extended header record {key} stands twice", key = quoted(.key))]
    PaxDuplicate {
        /// The key.
        key: String,
    },
    /// The value of a record is not allowed.
    #[error("bad value of extended header record {key}", key = quoted(.key))]
    PaxValue {
        /// The key.
        key: String,
    },
    /// A global extended header would change the following entries.
    #[error("global extended header sets {key}", key = quoted(.key))]
    PaxGlobal {
        /// The key.
        key: String,
    },
    /// Headers contradict each other, or belong to no entry.
    #[error("extended headers that contradict each other or belong to no entry")]
    StrayExtension,
    /// An extended header, name or sparse map is longer than allowed.
    #[error("{what} is longer than {limit} bytes")]
    TooLong {
        /// The part that is too long.
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// An entry that has no contents announces some.
    #[error("an entry without contents announces a size")]
    UnexpectedContents,
    /// A sparse map overlaps, is out of order, or does not fit the file.
    #[error("malformed sparse file map")]
    SparseMap,
    /// The holes of sparse files are larger than allowed.
    #[error("the holes of sparse files have more than {limit} bytes")]
    SparseHoles {
        /// The limit for one archive, in bytes.
        limit: u64,
    },
    /// More entries than allowed.
    #[error("more than {limit} entries")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// Names and attributes together are larger than allowed.
    #[error("names and attributes have more than {limit} bytes")]
    TooMuchMetadata {
        /// The limit, in bytes.
        limit: u64,
    },
}

/// Why an entry must not stand in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryFault {
    /// The name has a `..` part.
    #[error("the name climbs out with \"..\"")]
    Climbs,
    /// The path has too many bytes.
    #[error("the path has more than {} bytes", crate::limits::MAX_PATH)]
    PathTooLong,
    /// A part of the path has too many bytes.
    #[error("a part of the path has more than {} bytes", crate::limits::MAX_PART)]
    PartTooLong,
    /// A NUL byte in a path or target.
    #[error("the name holds a NUL byte")]
    Nul,
    /// The path is not in the form of [`crate::Entry::path`].
    #[error("the path is not clean")]
    NotClean,
    /// The root of the file system is not a folder.
    #[error("the root must be a folder")]
    RootKind,
    /// A whiteout of nothing, of `.` or of `..`, or a folder with the name of a whiteout.
    #[error("invalid whiteout")]
    Whiteout,
    /// The target of a symbolic link is empty or too long.
    #[error("invalid target of a symbolic link")]
    SymlinkTarget,
    /// The target of a hard link is not an earlier file of the same layer.
    #[error("the target of the hard link is not an earlier file of the layer")]
    LinkTarget,
    /// The symbolic links of the layer form a loop.
    #[error("too many symbolic links on the way")]
    LinkLoop,
    /// A character device 0:0, which is the whiteout of overlayfs.
    #[error("a character device 0:0 is not allowed")]
    OverlayWhiteout,
    /// A device number that no kernel uses.
    #[error("device number out of range")]
    DeviceNumber,
    /// A file is larger than an archive can express.
    #[error("the file is too large")]
    Size,
    /// An owner is out of range.
    #[error("owner out of range")]
    Owner,
    /// The name of an attribute cannot stand in an archive.
    #[error("the name of an extended attribute holds \"=\" or NUL, which no archive can express")]
    AttributeName,
    /// The attributes are larger than readers take.
    #[error("the extended attributes have more than {} bytes", crate::limits::MAX_ATTRIBUTES)]
    Attributes,
    /// The holes of the layer's files are larger than a layer may have.
    #[error("the holes of the layer's files have more than {} bytes", crate::limits::MAX_HOLES)]
    Holes,
}

/// Why a stored layer index cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexFault {
    /// Another version wrote it. The layer can be indexed again.
    #[error("written by another version")]
    Version,
    /// The bytes cannot be decoded.
    #[error("damaged")]
    Damaged,
}

/// A path that leads nowhere in a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// There are more symbolic links on the way than a kernel follows.
    #[error("{path}: too many symbolic links")]
    Loop {
        /// The requested path.
        path: ShownPath,
    },
    /// A part of the path is not a folder.
    #[error("{path}: {at} is not a folder")]
    NotAFolder {
        /// The requested path.
        path: ShownPath,
        /// The part that is not a folder.
        at: ShownPath,
    },
    /// A part or the whole path is too long.
    #[error("{path}: the path is too long")]
    TooLong {
        /// The requested path.
        path: ShownPath,
    },
}

impl LayerError {
    /// Makes an error about an entry.
    pub fn entry(path: &[u8], fault: EntryFault) -> Self {
        Self::Entry { path: ShownPath(path.to_vec()), fault }
    }

    pub(crate) fn malformed(offset: u64, fault: TarFault) -> Self {
        Self::Malformed { offset, fault }
    }

    /// Makes an error of one that a writer returned. An error of this crate inside it is taken out.
    pub fn from_write(source: io::Error) -> Self {
        match source.downcast::<LayerError>() {
            Ok(error) => error,
            Err(source) => Self::Write { source },
        }
    }

    /// Makes an error of one that a reader returned. An error of this crate inside it is taken out.
    pub fn from_read(source: io::Error) -> Self {
        match source.downcast::<LayerError>() {
            Ok(error) => error,
            Err(source) => Self::Read { source },
        }
    }
}

impl fmt::Display for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// A longer path is shown by its end, which tells more than its beginning.
        const SHOWN: usize = 200;
        let skipped = self.0.len().saturating_sub(SHOWN);
        let dots = if skipped > 0 { "..." } else { "" };
        write!(f, "\"{dots}{}\"", self.0[skipped..].escape_ascii())
    }
}

impl fmt::Debug for ShownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
