//! How long names may be.

/// Bytes that a path may have: PATH_MAX of Linux. Since each part has at least one byte, this also
/// bounds the depth to 2048 folders.
pub const MAX_PATH: usize = 4096;

/// Bytes that a part of a path may have: NAME_MAX of all common file systems.
pub const MAX_PART: usize = 255;

/// Bytes of a symbolic link's target that Linux can store: PATH_MAX without the final NUL.
pub const MAX_TARGET: usize = 4095;

/// Symbolic links that may be followed on one path, as in Linux.
pub const MAX_LINKS: usize = 40;
