//! Trees that files are copied from.

use std::sync::Arc;

use xbuild_layer::{ContentHash, Kind, Meta, ShownPath, path};

use crate::CopyError;
use crate::error::Instead;
use crate::pattern::Glob;
use crate::resolve::resolve;
use crate::stamp::{ContextFile, Stamp};

/// Identifies a file that may have several names: two numbers that are unique in the tree.
pub(crate) type FileId = (u64, u64);

/// A file of an origin.
#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// The kind; never a hard link.
    pub(crate) kind: Kind,
    /// Owner, mode, times, and the attributes of a file of a layer. Those of a context's file come
    /// with the contents.
    pub(crate) meta: Meta,
    /// The identity of a regular file that may have other names.
    pub(crate) id: Option<FileId>,
    /// The stamp of a regular file of a context.
    pub(crate) stamp: Option<Stamp>,
}

/// The place of a regular file's contents.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// There are none: the file is not regular, or a further name.
    None,
    /// In memory.
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

/// The files of a folder, see [`SourceTree::list`].
pub(crate) type Listing = Vec<(Vec<u8>, SourceFile)>;

/// The contents of a regular file of an origin.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) size: u64,
    /// `None` if the contents were never read.
    pub(crate) hash: Option<ContentHash>,
    pub(crate) content: Content,
    /// All extended attributes that a layer may carry, as far as they are known without reading.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A tree to copy files from. Paths have the form of [`xbuild_layer::Entry::path`]. Only the last
/// part may be a symbolic link, which is not followed.
pub(crate) trait SourceTree: Sync {
    /// Returns the file at `path`.
    fn look(&self, path: &[u8]) -> Result<Option<SourceFile>, CopyError>;

    /// Returns the files of the folder `path`, by name ascending.
    fn list(&self, path: &[u8]) -> Result<Listing, CopyError>;

    /// Returns the place of the contents of the regular file `path`, and what is known of them.
    /// `file` is the result of looking at the path.
    fn fetch(&self, path: &[u8], file: &SourceFile) -> Result<Fetched, CopyError>;

    /// Returns whether a file is there, but no part of the tree.
    fn hides(&self, _path: &[u8]) -> bool {
        false
    }

    /// Returns a name of the tree, for messages.
    fn place(&self) -> &'static str;

    /// Returns whether listing a folder needs system calls.
    fn is_on_disk(&self) -> bool;

    /// Returns `path` with all symbolic links followed, as if the tree were the whole file system.
    fn follow(&self, path: &[u8]) -> Result<Vec<u8>, CopyError> {
        resolve(path, true, |at| {
            Ok(match self.look(at)? {
                Some(SourceFile { kind: Kind::Symlink { target }, .. }) => Some(target),
                _ => None,
            })
        })
    }
}

/// Returns the paths that match a source, in the order of a walk. A source without a pattern is its
/// own match. Symbolic links are followed before the first part with a pattern, and nowhere else.
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

/// Makes the error of a source that does not exist.
pub(crate) fn not_found(tree: &dyn SourceTree, source: &[u8]) -> CopyError {
    let (path, place) = (ShownPath(source.to_vec()), tree.place());
    // An error of looking around would hide the error that counts.
    let instead = Box::new(instead(tree, source).unwrap_or_default());
    CopyError::NotFound { path, place, instead }
}

/// Names that are kept for a suggestion.
const NAMES: usize = 1000;

/// Returns what is there where a source was searched.
fn instead(tree: &dyn SourceTree, source: &[u8]) -> Result<Instead, CopyError> {
    let parts: Vec<&[u8]> = path::parts(source).filter(|part| !part.is_empty()).collect();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let is_folder = |count: usize| -> Result<bool, CopyError> {
        let found = tree.look(&parts[..count].join(&b'/'))?;
        Ok(found.is_some_and(|file| file.kind == Kind::Dir))
    };
    let mut known = 0;
    while known + 1 < parts.len() && is_folder(known + 1)? {
        known += 1;
    }
    let Some((part, below)) = parts[known..].split_first() else { return Ok(Instead::default()) };
    let names = tree.list(&parts[..known].join(&b'/'))?.into_iter().take(NAMES);
    Ok(Instead {
        is_ignored: tree.hides(source),
        above: parts[..known].iter().map(|part| text(part) + "/").collect(),
        part: text(part),
        below: below.iter().map(|part| format!("/{}", text(part))).collect(),
        names: names.map(|(name, _)| text(&name)).collect(),
    })
}
