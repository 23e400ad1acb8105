//! Paths inside a layer or tree: bytes, relative to the root, never given to the kernel as they
//! are.

use crate::EntryFault;
use crate::limits::WHITEOUT;
pub use crate::limits::{MAX_LINKS, MAX_PART, MAX_PATH, MAX_TARGET};

/// How `..` in a name is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DotDot {
    /// It is an error, as in the names of layers.
    Refuse,
    /// It leads one folder up, and stays at the root, as in a chroot.
    Clamp,
}

/// Returns `name` in the form of [`crate::Entry::path`]: without empty parts, `.` parts, and
/// slashes at either end.
///
/// **Errors** — [`EntryFault::Climbs`], `PathTooLong`, `PartTooLong`, `Nul`.
pub fn clean(name: &[u8], dot_dot: DotDot) -> Result<Vec<u8>, EntryFault> {
    let mut path = Vec::with_capacity(name.len().min(MAX_PATH));
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if dot_dot == DotDot::Refuse => return Err(EntryFault::Climbs),
            b".." => path.truncate(parent(&path).len()),
            _ => push(&mut path, part),
        }
    }
    check_lengths(&path)?;
    Ok(path)
}

/// Checks that `path` has the form of [`crate::Entry::path`].
pub fn check(path: &[u8]) -> Result<(), EntryFault> {
    check_lengths(path)?;
    if !path.is_empty() && parts(path).any(|part| matches!(part, b"" | b"." | b"..")) {
        return Err(EntryFault::NotClean);
    }
    Ok(())
}

fn check_lengths(path: &[u8]) -> Result<(), EntryFault> {
    let bare = |part: &[u8]| part.len() - part.strip_prefix(WHITEOUT).map_or(0, |_| WHITEOUT.len());
    let (folder, name) = split(path);
    if path.len() > MAX_PATH && folder.len() + 1 + bare(name) > MAX_PATH {
        return Err(EntryFault::PathTooLong);
    }
    if path.contains(&0) {
        return Err(EntryFault::Nul);
    }
    if parts(path).any(|part| bare(part) > MAX_PART) {
        return Err(EntryFault::PartTooLong);
    }
    Ok(())
}

/// Returns the parts of a clean path, from the root downwards. The root has no parts.
pub fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|_| !path.is_empty())
}

/// Returns the folder of a clean path. It is the root for a path of one part, and for the root
/// itself.
pub fn parent(path: &[u8]) -> &[u8] {
    split(path).0
}

/// Returns the last part of a clean path; it is empty for the root.
pub fn file_name(path: &[u8]) -> &[u8] {
    split(path).1
}

/// Returns the parent and the last part of a clean path.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// Returns the path of `part`, which may have several parts, below `folder`. Both must be clean.
pub fn join(folder: &[u8], part: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(folder.len() + 1 + part.len());
    path.extend_from_slice(folder);
    push(&mut path, part);
    path
}

/// Appends `part` to the clean path `path`.
pub fn push(path: &mut Vec<u8>, part: &[u8]) {
    if !path.is_empty() && !part.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(part);
}

/// Returns whether `path` is `folder` or below it. Both must be clean.
pub fn is_within(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned() {
        for (name, expected) in [
            (&b""[..], &b""[..]),
            (b"/", b""),
            (b"./", b""),
            (b".", b""),
            (b"./a", b"a"),
            (b"/a//b/./c/", b"a/b/c"),
            (b"a\\b\xff\n", b"a\\b\xff\n"),
            (b"...", b"..."),
        ] {
            assert_eq!(clean(name, DotDot::Refuse).unwrap(), expected);
            assert_eq!(check(expected), Ok(()));
        }
    }

    #[test]
    fn names_that_climb_are_refused_or_clamped() {
        for (name, clamped) in
            [(&b".."[..], &b""[..]), (b"../a", b"a"), (b"a/../../b", b"b"), (b"a/b/..", b"a")]
        {
            assert_eq!(clean(name, DotDot::Refuse), Err(EntryFault::Climbs));
            assert_eq!(clean(name, DotDot::Clamp).unwrap(), clamped);
        }
    }

    #[test]
    fn long_names_are_refused() {
        let part = vec![b'a'; MAX_PART];
        assert!(clean(&part, DotDot::Refuse).is_ok());
        assert_eq!(
            clean(&[&part[..], b"a"].concat(), DotDot::Refuse),
            Err(EntryFault::PartTooLong)
        );
        // A whiteout hides a name of that length.
        assert!(clean(&[b"d/.wh.", &part[..]].concat(), DotDot::Refuse).is_ok());
        let longer = [b".wh.", &part[..], b"a"].concat();
        assert_eq!(clean(&longer, DotDot::Refuse), Err(EntryFault::PartTooLong));
        let deep = b"a/".repeat(MAX_PATH / 2);
        assert!(clean(&deep, DotDot::Refuse).is_ok());
        let deeper = b"a/".repeat(MAX_PATH / 2 + 1);
        assert_eq!(clean(&deeper, DotDot::Refuse), Err(EntryFault::PathTooLong));
        assert_eq!(clean(b"a\0b", DotDot::Refuse), Err(EntryFault::Nul));
    }

    #[test]
    fn unclean_paths_are_noticed() {
        for path in [&b"/a"[..], b"a/", b"a//b", b".", b"a/./b", b"..", b"a/.."] {
            assert_eq!(check(path), Err(EntryFault::NotClean));
        }
    }

    #[test]
    fn paths_split_and_join() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(split(b""), (&b""[..], &b""[..]));
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a", b"b/c"), b"a/b/c");
        assert_eq!(join(b"a", b""), b"a");
        assert_eq!(parts(b"").count(), 0);
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"x", b""));
        assert!(!is_within(b"ab", b"a"));
    }
}
