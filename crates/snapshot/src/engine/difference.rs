//! The difference between the files of two stacks of layers.

use std::collections::{BTreeMap, BTreeSet};

use xbuild_layer::{Kind, Node, Tree, path};

/// The steps that lead from the files of one tree to those of another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Files to remove, with everything in them.
    pub(super) gone: Vec<Vec<u8>>,
    /// Files to put there, in place of others.
    pub(super) put: BTreeSet<Vec<u8>>,
}

impl Difference {
    /// Compares two trees. `common` is the number of layers that are the same in both, from the
    /// oldest on.
    pub(super) fn between(before: &Tree, after: &Tree, common: usize) -> Self {
        let mut found = Self::default();
        for (path, node) in before.walk(b"").filter(|(path, _)| !path.is_empty()) {
            if found.gone.last().is_some_and(|gone| path::is_within(&path, gone)) {
                continue;
            }
            let is_gone = match after.lookup(&path) {
                None => true,
                // Putting a folder takes no attributes away.
                Some(next) if node.is_folder() && next.is_folder() => {
                    node.meta.xattrs != next.meta.xattrs
                }
                Some(next) => node.is_folder() != next.is_folder(),
            };
            if is_gone {
                found.gone.push(path);
            }
        }
        let is_same = |path: &[u8], node: &Node| {
            before.lookup(path).is_some_and(|old| is_same(old, node, common))
        };
        for (path, node) in after.walk(b"").filter(|(path, _)| !path.is_empty()) {
            if !is_same(&path, node) {
                found.put.insert(path);
            }
        }
        for gone in &found.gone {
            found.put.extend(after.walk(gone).map(|(path, _)| path));
        }
        found
    }

    /// Adds what files in `put` need: all names of a file that has several, and the folders around
    /// everything that comes and goes, whose times change.
    pub(super) fn close(&mut self, after: &Tree) {
        let mut names: BTreeMap<(u32, Option<u32>), Vec<Vec<u8>>> = BTreeMap::new();
        for (path, node) in after.walk(b"").filter(|(_, node)| is_file(node)) {
            names.entry((node.layer, node.position)).or_default().push(path);
        }
        let nodes = self.put.iter().filter_map(|path| after.lookup(path));
        let of_put: BTreeSet<_> =
            nodes.filter(|node| is_file(node)).map(|node| (node.layer, node.position)).collect();
        for key in of_put {
            self.put.extend(names.remove(&key).unwrap_or_default());
        }
        let around = |path: &Vec<u8>| path::parent(path).to_vec();
        let folders: Vec<_> = self.put.iter().chain(&self.gone).map(around).collect();
        folders.iter().for_each(|folder| self.touch(folder, after));
    }

    /// Adds a folder whose time has changed.
    pub(super) fn touch(&mut self, folder: &[u8], after: &Tree) {
        // The root gets its metadata when a step takes the folder.
        if !folder.is_empty() && after.lookup(folder).is_some_and(Node::is_folder) {
            self.put.insert(folder.to_vec());
        }
    }
}

fn is_file(node: &Node) -> bool {
    matches!(node.kind, Kind::File { .. })
}

fn is_same(before: &Node, after: &Node, common: usize) -> bool {
    if (&before.kind, &before.meta) != (&after.kind, &after.meta) {
        return false;
    }
    // Which names are one file depends on the layer's entry. That of another layer may have other
    // bytes, too.
    !is_file(after) || before.same_file(after) && (after.layer as usize) < common
}

#[cfg(test)]
mod tests {
    use xbuild_layer::index_layer;
    use xbuild_testkit::layers::layer;

    use super::*;

    fn tree(layers: &[&[&str]]) -> Tree {
        let mut tree = Tree::empty();
        for (number, lines) in (0..).zip(layers) {
            tree = tree.apply(number, &index_layer(&layer(lines)[..], None).unwrap().1);
        }
        tree
    }

    /// Returns what goes and what is put, in words.
    fn between(before: &[&[&str]], after: &[&[&str]], common: usize) -> (String, String) {
        let after = tree(after);
        let mut found = Difference::between(&tree(before), &after, common);
        found.close(&after);
        let words = |list: Vec<&Vec<u8>>| {
            let words: Vec<_> = list.into_iter().map(|p| String::from_utf8_lossy(p)).collect();
            words.join(" ")
        };
        (words(found.gone.iter().collect()), words(found.put.iter().collect()))
    }

    #[test]
    fn is_what_the_layers_say() {
        let base: &[&str] =
            &["d a 755", "f a/f 1", "d a/in 755", "f a/in/f 2", "f b 3", "h twin b", "l link b"];
        let of = |before: &[&str], after: &[&str]| {
            let found = between(&[base, before], &[base, after], 1);
            (found.0, found.1)
        };
        let said = |gone: &str, put: &str| (gone.to_owned(), put.to_owned());
        assert_eq!(of(&[], &[]), said("", ""));
        assert_eq!(of(&["f new 1", "d n 755", "f n/f 1"], &[]), said("n new", ""));
        assert_eq!(of(&["f a/f 9"], &[]), said("", "a a/f"));
        assert_eq!(of(&["w a"], &[]), said("", "a a/f a/in a/in/f"));
        assert_eq!(of(&[], &["w a/in"]), said("a/in", "a"));
        assert_eq!(of(&["f a kind"], &[]), said("a", "a a/f a/in a/in/f"));
        assert_eq!(of(&[], &["f a/in kind"]), said("a/in", "a a/in"));
        assert_eq!(of(&["d a/in 700"], &[]), said("", "a a/in"));
        // One name brings the others along.
        assert_eq!(of(&["f b changed"], &[]), said("", "b twin"));
        assert_eq!(of(&["w b"], &[]), said("", "b twin"));
        assert_eq!(of(&["l link a"], &["l link f"]), said("", "link"));
        // The same bytes in another layer.
        assert_eq!(of(&["f a/f 9"], &["f a/f 9"]), said("", "a a/f"));
    }
}
