//! How long names may be.

/// Bytes that a path may have. Linux's PATH_MAX; with parts of at least one byte it also bounds
/// the depth to 2048 folders.
pub const MAX_PATH: usize = 4096;

/// Bytes that a part of a path may have: NAME_MAX of every file system in use.
pub const MAX_PART: usize = 255;

/// Bytes of a symbolic link's target: what Linux can store, PATH_MAX with its final NUL.
pub const MAX_TARGET: usize = 4095;

/// Symbolic links that are followed on one path, as many as Linux does.
pub const MAX_LINKS: usize = 40;
