//! How long names may be, and which holes files have.

/// Bytes that a path may have: PATH_MAX of Linux. Since each part has at least one byte, this also
/// bounds the depth to 2048 folders.
pub const MAX_PATH: usize = 4096;

/// Bytes that a part of a path may have: NAME_MAX of all common file systems.
pub const MAX_PART: usize = 255;

/// The prefix of the name of a whiteout, which may be longer by it than the name that it hides.
pub const WHITEOUT: &[u8] = b".wh.";

/// Bytes of a symbolic link's target that Linux can store: PATH_MAX without the final NUL.
pub const MAX_TARGET: usize = 4095;

/// Symbolic links that may be followed on one path, as in Linux.
pub const MAX_LINKS: usize = 40;

/// Bytes from which on a file may have holes in a layer, and bytes that its holes must have for
/// that: fewer zeros are written out, since not all readers know holes.
pub const LARGE: u64 = 1 << 30;

/// The unit of holes, in bytes: an aligned piece of a file of this length without a byte but zero.
pub const HOLE: u64 = 1 << 20;

/// Bytes that the holes of a layer may have: the largest file of ext4. Holes cost neither room nor
/// time here, but file systems have limits of their own.
pub const MAX_HOLES: u64 = 16 << 40;

/// Stored parts of a file with holes, in a layer that is written. Go's reader takes a map of a MiB
/// at most.
pub const MAX_WRITTEN_SEGMENTS: usize = 16_384;

/// Bytes of the names and values of a file's attributes in a layer. Readers, Go's among them, take
/// an extended header of a MiB at most, which holds the names of the file as well.
pub const MAX_ATTRIBUTES: usize = 512 << 10;
