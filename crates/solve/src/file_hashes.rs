//! Hashes of a selection's files by name, in bounded space however many files there are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::reason::{Change, FileChanges};

/// The most names that are kept: they take some MiB, in the store and in memory. With more files,
/// whole folders stand for their contents.
pub(crate) const LIMIT: usize = 1 << 15;

/// Hashes of files by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileHashes {
    /// The number of folders above a file up to which it is kept by its own name; `None` for no
    /// limit. The hashes of files further down are added up in the folder at this depth, whose name
    /// ends in a slash.
    depth: Option<usize>,
    /// Whether there are too many names even so: then none is kept.
    too_many: bool,
    /// Paths are relative to the context, or have a leading slash in an image. Hashes of one name
    /// are added up, so that their order does not matter.
    hashes: BTreeMap<String, u64>,
}

impl FileHashes {
    /// Adds a file; its path may be any bytes.
    pub(crate) fn add(&mut self, path: &[u8], hash: u64) {
        self.add_within(path, hash, LIMIT);
    }

    /// Returns the number of names.
    pub(crate) fn len(&self) -> usize {
        self.hashes.len()
    }

    fn add_within(&mut self, path: &[u8], hash: u64, limit: usize) {
        if self.too_many {
            return;
        }
        let name = String::from_utf8_lossy(path);
        let name = self.depth.map_or(&*name, |depth| cut(&name, depth));
        add(&mut self.hashes, name, hash);
        while self.hashes.len() > limit {
            let deepest = self.hashes.keys().map(|name| folders(name)).max().unwrap_or_default();
            match self.depth.map_or(deepest, |depth| depth.min(deepest)).checked_sub(1) {
                Some(depth) => self.fold(depth),
                None => {
                    self.too_many = true;
                    self.hashes.clear();
                }
            }
        }
    }

    /// Replaces files that are deeper than `depth` by the folders at that depth.
    fn fold(&mut self, depth: usize) {
        self.depth = Some(depth);
        for (name, hash) in std::mem::take(&mut self.hashes) {
            add(&mut self.hashes, cut(&name, depth), hash);
        }
    }

    /// Returns the hashes as they are at `depth`, which is not deeper than their own.
    fn at(&self, depth: Option<usize>) -> Cow<'_, BTreeMap<String, u64>> {
        match depth {
            Some(depth) if self.depth != Some(depth) => {
                let mut folded = self.clone();
                folded.fold(depth);
                Cow::Owned(folded.hashes)
            }
            _ => Cow::Borrowed(&self.hashes),
        }
    }

    /// Returns the changes since `old`; `None` if there are none, or if there were too many files
    /// to tell.
    pub(crate) fn changes_since(&self, old: &Self) -> Option<FileChanges> {
        if self.too_many || old.too_many {
            return None;
        }
        let depth = match (self.depth, old.depth) {
            (Some(new), Some(old)) => Some(new.min(old)),
            (new, old) => new.or(old),
        };
        let (new, old) = (self.at(depth), old.at(depth));
        let mut found: Option<(&str, Change)> = None;
        let mut count = 0;
        let changed = new.iter().filter_map(|(name, hash)| match old.get(name) {
            None => Some((name, Change::Added)),
            Some(before) => (before != hash).then_some((name, Change::Changed)),
        });
        let removed = old.keys().filter(|name| !new.contains_key(*name));
        for (name, change) in changed.chain(removed.map(|name| (name, Change::Removed))) {
            count += 1;
            if found.is_none_or(|(first, _)| rank(name) < rank(first)) {
                found = Some((name, change));
            }
        }
        let (first, change) = found?;
        Some(FileChanges { first: first.to_owned(), change, more: count - 1 })
    }
}

fn add(hashes: &mut BTreeMap<String, u64>, name: &str, hash: u64) {
    match hashes.get_mut(name) {
        Some(sum) => *sum = sum.wrapping_add(hash),
        None => {
            hashes.insert(name.to_owned(), hash);
        }
    }
}

/// Returns the order in which files are reported: the user has changed files of the context, which
/// come first.
fn rank(name: &str) -> (bool, &str) {
    (name.starts_with('/'), name)
}

/// Returns the number of folders above a file, the root not counted.
fn folders(name: &str) -> usize {
    let name = name.strip_prefix('/').unwrap_or(name);
    name.matches('/').count()
}

/// Returns the path of a file with at most `depth` folders above it, else the path of its folder at
/// that depth, with a slash.
fn cut(name: &str, depth: usize) -> &str {
    let start = usize::from(name.starts_with('/'));
    let end = name[start..].match_indices('/').nth(depth).map(|(at, _)| start + at + 1);
    &name[..end.unwrap_or(name.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: &[(&str, u64)], limit: usize) -> FileHashes {
        let mut hashes = FileHashes::default();
        files.iter().for_each(|(name, hash)| hashes.add_within(name.as_bytes(), *hash, limit));
        hashes
    }

    fn changes(old: &FileHashes, new: &FileHashes) -> Option<(String, Change, usize)> {
        let FileChanges { first, change, more } = new.changes_since(old)?;
        Some((first, change, more))
    }

    #[test]
    fn changes_are_told_by_name() {
        let old = of(&[("a", 1), ("b", 2), ("/etc/c", 3)], 9);
        for (new, expected) in [
            (&[("a", 1), ("b", 2), ("/etc/c", 3)][..], None),
            (&[("a", 1), ("b", 5), ("/etc/c", 3)], Some(("b", Change::Changed, 0))),
            (&[("a", 1), ("/etc/c", 4)], Some(("b", Change::Removed, 1))),
            (&[("0", 0), ("b", 2), ("/etc/c", 3)], Some(("0", Change::Added, 1))),
            (&[("a", 1), ("b", 2), ("/etc/d", 3)], Some(("/etc/c", Change::Removed, 1))),
        ] {
            let expected = expected.map(|(name, change, more)| (name.to_owned(), change, more));
            assert_eq!(changes(&old, &of(new, 9)), expected, "{new:?}");
        }
    }

    #[test]
    fn folders_stand_for_many_files_whatever_their_order() {
        let files =
            [("a/b/1", 1), ("a/b/2", 2), ("a/c/3", 4), ("d/4", 8), ("e", 16), ("/f/g/5", 32)];
        let folded = of(&files, 5);
        let expected = [("/f/g/", 32), ("a/b/", 3), ("a/c/", 4), ("d/4", 8), ("e", 16)]
            .map(|(n, h)| (n.to_owned(), h));
        assert_eq!(folded.hashes, BTreeMap::from(expected));
        let mut reversed = files;
        reversed.reverse();
        assert_eq!(of(&reversed, 5), folded);
        assert_eq!(of(&files, 4).depth, Some(0));
        assert_eq!(
            of(&files, 3),
            FileHashes { too_many: true, depth: Some(0), ..Default::default() }
        );
        // Hashes of other depths are compared.
        let mut more = files.to_vec();
        more.push(("a/b/6", 1));
        assert_eq!(changes(&folded, &of(&more, 9)), Some(("a/b/".into(), Change::Changed, 0)));
        assert_eq!(changes(&of(&files, 9), &of(&files, 4)), None);
        assert_eq!(changes(&of(&files, 3), &folded), None);
    }
}
