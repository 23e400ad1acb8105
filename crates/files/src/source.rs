//! The trees that files are copied from.

use std::sync::Arc;

use xbuild_layer::{ContentHash, Kind, Meta, ShownPath, path};

use crate::CopyError;
use crate::pattern::Glob;
use crate::resolve::resolve;
use crate::stamp::{ContextFile, Stamp};

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

/// Where the contents of a regular file are.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Nowhere: it is no regular file, or a further name of one.
    None,
    /// Here.
    Inline(Arc<[u8]>),
    /// In a build context.
    Context(ContextFile),
    /// In a layer of the origin.
    Layer {
        /// The number of the layer.
        number: u32,
        /// The position of the file in the layer.
        position: u32,
    },
    /// In an archive that is unpacked.
    Archive {
        /// The number of the archive.
        number: usize,
        /// The position of the file in the archive.
        position: u32,
    },
}

/// What a folder holds, see [`SourceTree::list`].
pub(crate) type Listing = Vec<(Vec<u8>, SourceFile)>;

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
    fn list(&self, path: &[u8]) -> Result<Listing, CopyError>;

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

/// Returns the paths that a source stands for: those that match, in the order of a walk, or the
/// path itself if it has no pattern. Symbolic links are followed before the first part with a
/// pattern, and nowhere else.
///
/// **Source** — Dockerfile reference § COPY, Pattern matching.
pub(crate) fn expand(tree: &dyn SourceTree, source: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
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
pub(crate) fn not_found(tree: &dyn SourceTree, source: &[u8]) -> CopyError {
    CopyError::NotFound { path: ShownPath(source.to_vec()), place: tree.place() }
}
