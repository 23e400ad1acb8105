//! The merged files of a stack of layers: an immutable value that is cheap to clone and to extend.
//!
//! Applying a layer copies only the folders that it changes. However deep the folders are, nothing
//! here recurses on the stack.

use std::collections::{BTreeMap, btree_map};
use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::path::{self, MAX_LINKS, MAX_PART, MAX_PATH};
use crate::{Change, ContentHash, Entry, Kind, Meta, ResolveError, ShownPath};

/// The mode of a folder that has files, but no entry in any layer.
const IMPLIED_MODE: u32 = 0o755;

/// The files of a stack of layers, without their contents.
///
/// **Source** — OCI image-spec `layer.md` § Applying Changesets.
///
/// ```
/// use xbuild_layer::{Entry, Kind, LayerError, LayerWriter, Meta, Tree, index_layer};
///
/// let mut lower = LayerWriter::new(Vec::new());
/// for (path, kind) in [("etc", Kind::Dir), ("etc/motd", Kind::File { size: 5 })] {
///     let entry = Entry { path: path.into(), kind, meta: Meta::default() };
///     lower.put(&entry, &mut &b"hello"[..])?;
/// }
/// let mut upper = LayerWriter::new(Vec::new());
/// upper.whiteout(b"etc/motd")?;
///
/// let mut tree = Tree::empty();
/// for (number, layer) in [lower.finish()?, upper.finish()?].into_iter().enumerate() {
///     let (_diff_id, index) = index_layer(&layer[..], None)?;
///     tree = tree.apply(number as u32, &index);
/// }
/// assert!(tree.lookup(b"etc").is_some());
/// assert!(tree.lookup(b"etc/motd").is_none());
/// # Ok::<(), LayerError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tree {
    root: Arc<Node>,
}

/// A file of a [`Tree`].
#[derive(Clone)]
pub struct Node {
    /// The kind; never [`Kind::HardLink`], since each name of a file shows the file itself.
    pub kind: Kind,
    /// Owner, mode, times, attributes.
    pub meta: Meta,
    /// The number of the layer that has it, as given to [`Tree::apply`]. A folder of several layers
    /// has the number of the newest one.
    pub layer: u32,
    /// The index of the change that put it, in [`crate::LayerIndex::changes`] of that layer. For a
    /// hard link it is the change that put the target. `None` for a folder without an entry.
    pub position: Option<u32>,
    /// The hash of the contents of a regular file.
    pub content: Option<ContentHash>,
    children: Children,
}

/// The end of a path in a [`Tree`].
#[derive(Debug, Clone)]
pub struct Resolved<'t> {
    /// The clean path of the file, or of the missing file. No part is a symbolic link, save the
    /// last one if it was not to be followed.
    pub path: Vec<u8>,
    /// The file; `None` if it is missing.
    pub node: Option<&'t Node>,
}

type Children = BTreeMap<Box<[u8]>, Arc<Node>>;
type ChildrenIter<'t> = btree_map::Iter<'t, Box<[u8]>, Arc<Node>>;

/// The files at and below a path: folders before their files, names in byte order.
#[derive(Debug)]
pub struct Walk<'t> {
    first: Option<&'t Node>,
    path: Vec<u8>,
    /// The folders being walked: the length of their path, and their remaining children.
    open: Vec<(usize, ChildrenIter<'t>)>,
}

impl Tree {
    /// Returns a tree with only a root folder, which has the mode 0755 and belongs to root.
    pub fn empty() -> Self {
        Self { root: Arc::new(Node::implied(0)) }
    }

    /// Like [`Tree::apply`]. Also returns the position of the first hard link whose target is not
    /// an earlier file of the layer. Such links are left out.
    pub(crate) fn merge(
        &self,
        layer: u32,
        changes: &[(Change, Option<ContentHash>)],
    ) -> (Tree, Option<usize>) {
        let mut tree = self.clone();
        for (change, _) in changes {
            match change {
                Change::Put(_) => {}
                Change::Whiteout(path) => tree.hide(path),
                Change::Opaque(path) => tree.hide_below(path),
            }
        }
        let mut dangling = None;
        for (position, (change, content)) in changes.iter().enumerate() {
            match change {
                Change::Whiteout(path) => {
                    tree.folder_mut(path::parent(path), layer);
                }
                Change::Opaque(path) => {
                    tree.folder_mut(path, layer);
                }
                Change::Put(entry) => {
                    if !tree.put(entry, *content, layer, position) {
                        dangling.get_or_insert(position);
                    }
                }
            }
        }
        (tree, dangling)
    }

    /// Returns the root folder.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// Returns the file at a clean path. Symbolic links are not followed.
    pub fn lookup(&self, path: &[u8]) -> Option<&Node> {
        path::parts(path).try_fold(self.root(), Node::child)
    }

    /// Returns the folder at a clean path as a tree of its own; `None` if it is not a folder.
    pub fn below(&self, path: &[u8]) -> Option<Tree> {
        let child = |node: &Arc<Node>, name: &[u8]| node.children.get(name).cloned();
        let root =
            path::parts(path).try_fold(self.root.clone(), |node, name| child(&node, name))?;
        root.is_folder().then_some(Tree { root })
    }

    /// Returns the children of the folder at a clean path by name, in byte order. Without a folder
    /// there are none.
    pub fn children(&self, path: &[u8]) -> impl Iterator<Item = (&[u8], &Node)> {
        self.lookup(path).into_iter().flat_map(Node::children)
    }

    /// Returns the file at a clean path and all files below it, with their paths. Without a file
    /// there are none.
    pub fn walk(&self, path: &[u8]) -> Walk<'_> {
        Walk { first: self.lookup(path), path: path.to_vec(), open: Vec::new() }
    }

    /// Returns where any path leads. It is resolved as for a process whose root is the tree's root:
    /// symbolic links are followed inside the tree, and `..` stays at the root. The last part is
    /// followed if `follow_last` is set or a slash comes after it.
    ///
    /// A missing file is not an error, however many parts of the path are missing; a `..` after a
    /// missing part takes it back.
    ///
    /// **Errors** — [`ResolveError::Loop`] for more than 40 links, [`ResolveError::NotAFolder`],
    /// [`ResolveError::TooLong`].
    pub fn resolve(&self, path: &[u8], follow_last: bool) -> Result<Resolved<'_>, ResolveError> {
        let shown = || ShownPath(path.to_vec());
        // The remaining parts, the next one last. The parts of a link are put on top.
        let mut rest: Vec<&[u8]> = path.split(|&byte| byte == b'/').rev().collect();
        let mut at = Vec::new();
        let mut nodes: Vec<Option<&Node>> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part {
                b"" | b"." => continue,
                b".." => {
                    nodes.pop();
                    at.truncate(path::parent(&at).len());
                    continue;
                }
                _ if part.len() > MAX_PART || at.len() + part.len() >= MAX_PATH => {
                    return Err(ResolveError::TooLong { path: shown() });
                }
                _ => {}
            }
            let folder = nodes.last().copied().unwrap_or(Some(self.root()));
            if folder.is_some_and(|node| !node.is_folder()) {
                return Err(ResolveError::NotAFolder { path: shown(), at: ShownPath(at) });
            }
            let child = folder.and_then(|node| node.child(part));
            match child.map(|node| &node.kind) {
                Some(Kind::Symlink { target }) if follow_last || !rest.is_empty() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(ResolveError::Loop { path: shown() });
                    }
                    if target.first() == Some(&b'/') {
                        nodes.clear();
                        at.clear();
                    }
                    rest.extend(target.split(|&byte| byte == b'/').rev());
                }
                _ => {
                    path::push(&mut at, part);
                    nodes.push(child);
                }
            }
        }
        let node = nodes.last().copied().unwrap_or(Some(self.root()));
        Ok(Resolved { path: at, node })
    }

    /// Removes the file at `path`.
    fn hide(&mut self, path: &[u8]) {
        if self.lookup(path).is_some() {
            let (parent, name) = path::split(path);
            self.folder_mut(parent, 0).children.remove(name);
        }
    }

    /// Removes the files in the folder `path`.
    fn hide_below(&mut self, path: &[u8]) {
        if self.lookup(path).is_some_and(|node| !node.children.is_empty()) {
            self.folder_mut(path, 0).children.clear();
        }
    }

    /// Returns the folder `path` for writing. If it is missing, it is made for `layer`.
    fn folder_mut(&mut self, path: &[u8], layer: u32) -> &mut Node {
        let mut node = Arc::make_mut(&mut self.root);
        for part in path::parts(path) {
            if !node.child(part).is_some_and(Node::is_folder) {
                node.children.insert(part.into(), Arc::new(Node::implied(layer)));
            }
            let child = node.children.get_mut(part).expect("it was there or has been inserted");
            node = Arc::make_mut(child);
        }
        node
    }

    /// Puts an entry of `layer`. Returns false for a link whose target is missing.
    fn put(
        &mut self,
        entry: &Entry,
        content: Option<ContentHash>,
        layer: u32,
        position: usize,
    ) -> bool {
        let mut node = match &entry.kind {
            Kind::HardLink { target } => match self.lookup(target) {
                Some(file) if file.layer == layer && !file.is_folder() => file.clone(),
                _ => return false,
            },
            kind => Node {
                kind: kind.clone(),
                meta: entry.meta.clone(),
                layer,
                position: u32::try_from(position).ok(),
                content,
                children: Children::new(),
            },
        };
        let (parent, name) = path::split(&entry.path);
        if name.is_empty() {
            let root = Arc::make_mut(&mut self.root);
            node.children = mem::take(&mut root.children);
            *root = node;
            return true;
        }
        let parent = self.folder_mut(parent, layer);
        match parent.children.get_mut(name) {
            Some(old) => {
                if node.is_folder() && old.is_folder() {
                    node.children = mem::take(&mut Arc::make_mut(old).children);
                }
                *old = Arc::new(node);
            }
            None => {
                parent.children.insert(name.into(), Arc::new(node));
            }
        }
        true
    }
}

impl Node {
    fn implied(layer: u32) -> Self {
        Self {
            kind: Kind::Dir,
            meta: Meta { mode: IMPLIED_MODE, ..Meta::default() },
            layer,
            position: None,
            content: None,
            children: Children::new(),
        }
    }

    /// Returns whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.kind == Kind::Dir
    }

    /// Returns the child with a name.
    pub fn child(&self, name: &[u8]) -> Option<&Node> {
        self.children.get(name).map(Arc::as_ref)
    }

    /// Returns the children by name, in byte order. Only folders have children.
    pub fn children(&self) -> impl Iterator<Item = (&[u8], &Node)> {
        self.children.iter().map(|(name, node)| (&**name, &**node))
    }

    /// Returns whether this and `other` are two names of one file.
    pub fn same_file(&self, other: &Node) -> bool {
        !self.is_folder()
            && !other.is_folder()
            && (self.layer, self.position) == (other.layer, other.position)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the number of children: their own output would recurse as deep as the folders.
        f.debug_struct("Node")
            .field("kind", &self.kind)
            .field("meta", &self.meta)
            .field("layer", &self.layer)
            .field("position", &self.position)
            .field("content", &self.content)
            .field("children", &self.children.len())
            .finish()
    }
}

impl Drop for Node {
    /// Drops the nodes in a loop: dropping them by recursion could overflow the stack.
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node>> = mem::take(&mut self.children).into_values().collect();
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                pending.extend(mem::take(&mut node.children).into_values());
            }
        }
    }
}

impl<'t> Iterator for Walk<'t> {
    type Item = (Vec<u8>, &'t Node);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(node) = self.first.take() {
            self.open.push((self.path.len(), node.children.iter()));
            return Some((self.path.clone(), node));
        }
        loop {
            let (length, children) = self.open.last_mut()?;
            self.path.truncate(*length);
            match children.next() {
                Some((name, node)) => {
                    path::push(&mut self.path, name);
                    if node.is_folder() {
                        self.open.push((self.path.len(), node.children.iter()));
                    }
                    return Some((self.path.clone(), node));
                }
                None => {
                    self.open.pop();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
