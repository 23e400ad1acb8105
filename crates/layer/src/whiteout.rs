//! Names by which a layer removes files of the layers below.
//!
//! **Source** — OCI image-spec `layer.md` § Whiteouts. The names with two prefixes come from aufs,
//! which kept its own state in such files.

use crate::EntryFault;
use crate::limits::WHITEOUT as PREFIX;
use crate::path;

/// The prefix of the names of aufs's own files.
const AUFS_PREFIX: &[u8] = b".wh..wh.";

/// The name of the mark that makes its folder opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The meaning of an entry's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Role<'p> {
    /// A plain file.
    Plain,
    /// Hides `name` in `folder`.
    Whiteout {
        /// The folder.
        folder: &'p [u8],
        /// The name of the file that is hidden.
        name: &'p [u8],
    },
    /// Hides the files below `folder`.
    Opaque {
        /// The folder.
        folder: &'p [u8],
    },
    /// State of aufs, which nothing else uses.
    Ignored,
}

/// Returns the meaning of an entry's clean path.
///
/// **Errors** — [`EntryFault::Whiteout`] for a whiteout of nothing, of `.` or `..`, and for an
/// entry below a whiteout.
pub fn role(path: &[u8]) -> Result<Role<'_>, EntryFault> {
    let (folder, name) = path::split(path);
    for part in path::parts(folder) {
        if part.starts_with(AUFS_PREFIX) && part != OPAQUE {
            return Ok(Role::Ignored);
        }
        if part.starts_with(PREFIX) {
            return Err(EntryFault::Whiteout);
        }
    }
    match name.strip_prefix(PREFIX) {
        None => Ok(Role::Plain),
        Some(_) if name == OPAQUE => Ok(Role::Opaque { folder }),
        Some(b"" | b"." | b"..") => Err(EntryFault::Whiteout),
        Some(_) if name == AUFS_PREFIX => Err(EntryFault::Whiteout),
        Some(_) if name.starts_with(AUFS_PREFIX) => Ok(Role::Ignored),
        Some(name) => Ok(Role::Whiteout { folder, name }),
    }
}

/// Returns whether a part of a clean path has the prefix of whiteouts.
pub fn is_reserved(path: &[u8]) -> bool {
    path::parts(path).any(|part| part.starts_with(PREFIX))
}

/// Returns the path of the entry that hides the clean `path`.
pub fn whiteout_path(path: &[u8]) -> Vec<u8> {
    let (folder, name) = path::split(path);
    path::join(folder, &[PREFIX, name].concat())
}

/// Returns the path of the entry that makes the folder at the clean `path` opaque.
pub fn opaque_path(path: &[u8]) -> Vec<u8> {
    path::join(path, OPAQUE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row 40 of the threat table.
    #[test]
    fn names_have_roles() {
        let whiteout = |folder, name| Ok(Role::Whiteout { folder, name });
        for (path, expected) in [
            (&b"a/b"[..], Ok(Role::Plain)),
            (b"", Ok(Role::Plain)),
            (b".wh", Ok(Role::Plain)),
            (b"a/x.wh.b", Ok(Role::Plain)),
            (b".wh.a", whiteout(b"", b"a")),
            (b"a/.wh.b", whiteout(b"a", b"b")),
            (b"a/.wh....", whiteout(b"a", b"...")),
            (b"a/.wh..b", whiteout(b"a", b".b")),
            (b"a/.wh..wh", whiteout(b"a", b".wh")),
            (b".wh..wh..opq", Ok(Role::Opaque { folder: b"" })),
            (b"a/.wh..wh..opq", Ok(Role::Opaque { folder: b"a" })),
            (b"a/.wh.", Err(EntryFault::Whiteout)),
            (b".wh..", Err(EntryFault::Whiteout)),
            (b"a/.wh...", Err(EntryFault::Whiteout)),
            (b".wh..wh.", Err(EntryFault::Whiteout)),
            (b".wh.a/b", Err(EntryFault::Whiteout)),
            (b".wh..wh..opq/b", Err(EntryFault::Whiteout)),
            (b".wh..wh.plnk", Ok(Role::Ignored)),
            (b".wh..wh.plnk/16.2", Ok(Role::Ignored)),
            (b".wh..wh.aufs", Ok(Role::Ignored)),
            (b".wh..wh.orph/x/.wh.y", Ok(Role::Ignored)),
        ] {
            assert_eq!(role(path), expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn paths_of_whiteouts_are_made() {
        assert_eq!(whiteout_path(b"a/b"), b"a/.wh.b");
        assert_eq!(whiteout_path(b"a"), b".wh.a");
        assert_eq!(opaque_path(b"a"), b"a/.wh..wh..opq");
        assert_eq!(opaque_path(b""), b".wh..wh..opq");
    }
}
