//! The trees that files are copied from.

use xbuild_layer::{ContentHash, Kind, Meta, Node, Tree, path};

use super::stage::{Content, resolve};
use crate::CopyError;
use crate::context::Stamp;
use crate::pattern::Glob;

/// Tells files apart that may have several names: two numbers that are unique in the tree.
pub(crate) type FileId = (u64, u64);

/// A file of an origin.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// What it is; never a hard link.
    pub(crate) kind: Kind,
    /// Owner, mode, times; attributes only of layers, those of contexts come with the contents.
    pub(crate) meta: Meta,
    /// Of a regular file that may have other names: which one it is.
    pub(crate) id: Option<FileId>,
    /// Of a regular file of a context: as it was when it was looked at.
    pub(crate) stamp: Option<Stamp>,
}

/// The contents of a regular file of an origin.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) size: u64,
    /// `None` if the file was never read.
    pub(crate) hash: Option<ContentHash>,
    pub(crate) content: Content,
    /// All extended attributes that a layer may carry, as far as they are known without reading.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tree of files to copy from. Paths have the form of [`xbuild_layer::Entry::path`], and only the last
/// part may be a symbolic link, which is not followed.
pub(crate) trait SourceTree: Sync {
    /// Returns what is at `path`.
    fn look(&self, path: &[u8]) -> Result<Option<SourceFile>, CopyError>;

    /// Returns what the folder `path` holds, by name ascending.
    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, SourceFile)>, CopyError>;

    /// Returns where the contents of the regular file `path` are, and what is known of them;
    /// `file` is what was found there.
    fn fetch(&self, path: &[u8], file: &SourceFile) -> Result<Fetched, CopyError>;

    /// Returns what the tree is, for messages.
    fn place(&self) -> &'static str;

    /// Returns whether listing a folder means to ask a file system.
    fn is_on_disk(&self) -> bool;

    /// Returns `path` with all symbolic links followed as if the tree were all there is.
    fn follow(&self, path: &[u8]) -> Result<Vec<u8>, CopyError> {
        resolve(path, true, |at| {
            Ok(match self.look(at)? {
                Some(SourceFile { kind: Kind::Symlink { target }, .. }) => Some(target),
                _ => None,
            })
        })
    }
}

impl SourceTree for Tree {
    fn look(&self, path: &[u8]) -> Result<Option<SourceFile>, CopyError> {
        Ok(self.lookup(path).map(source_file))
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, SourceFile)>, CopyError> {
        Ok(self.children(path).map(|(name, node)| (name.to_vec(), source_file(node))).collect())
    }

    fn fetch(&self, path: &[u8], _: &SourceFile) -> Result<Fetched, CopyError> {
        let found = self.lookup(path).and_then(|node| match (&node.kind, node.content) {
            (Kind::File { size }, Some(hash)) => Some(Fetched {
                size: *size,
                hash: Some(hash),
                content: Content::Layer { number: node.layer, position: node.position? },
                xattrs: xbuild_layer::capability::exported(&node.meta.xattrs),
            }),
            _ => None,
        });
        found.ok_or_else(|| CopyError::NotFound {
            path: xbuild_layer::ShownPath(path.to_vec()),
            place: self.place(),
        })
    }

    fn place(&self) -> &'static str {
        "the image or stage"
    }

    fn is_on_disk(&self) -> bool {
        false
    }
}

fn source_file(node: &Node) -> SourceFile {
    let id = match node.kind {
        Kind::File { .. } => node.position.map(|position| (node.layer.into(), position.into())),
        _ => None,
    };
    SourceFile { kind: node.kind.clone(), meta: node.meta.clone(), id, stamp: None }
}

/// Returns the paths that a source stands for: those that match, in the order of a walk, or the
/// path itself if it has no pattern. Symbolic links are followed before the first part with a
/// pattern, and nowhere else.
///
/// **Source** — Dockerfile reference § COPY, Pattern matching.
pub(super) fn expand(tree: &dyn SourceTree, source: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
    let parts: Vec<&[u8]> = path::parts(source).collect();
    let fixed = parts.iter().take_while(|part| !Glob::is_pattern(part)).count();
    if fixed == parts.len() {
        return Ok(vec![source.to_vec()]);
    }
    let base = tree.follow(&parts[..fixed].join(&b'/'))?;
    if tree.look(&base)?.is_none() {
        return Err(not_found(tree, source));
    }
    let mut found = vec![base];
    for part in &parts[fixed..] {
        let glob =
            Glob::new(part).map_err(|source| CopyError::Pattern { place: "a source", source })?;
        let mut next = Vec::new();
        for folder in found {
            if !matches!(tree.look(&folder)?, Some(SourceFile { kind: Kind::Dir, .. })) {
                continue;
            }
            let children = tree.list(&folder)?.into_iter();
            let matching = children.filter(|(name, _)| glob.matches(name));
            next.extend(matching.map(|(name, _)| path::join(&folder, &name)));
        }
        found = next;
    }
    Ok(found)
}

/// Makes the error about a source that does not exist.
pub(super) fn not_found(tree: &dyn SourceTree, source: &[u8]) -> CopyError {
    CopyError::NotFound { path: xbuild_layer::ShownPath(source.to_vec()), place: tree.place() }
}
