//! A file that a step is going to write.

use std::collections::BTreeMap;

use xbuild_layer::{ContentHash, Kind, Meta, Mtime};

use crate::source::Content;

/// A file to write.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// The kind.
    pub(crate) kind: Kind,
    /// Owner, mode, times, attributes.
    pub(crate) meta: Meta,
    /// The place of its contents.
    pub(crate) content: Content,
    /// The hash of its contents; `None` also for contents in archives.
    pub(crate) hash: Option<ContentHash>,
}

impl Staged {
    /// Makes a file that is not a regular file.
    pub(crate) fn without_content(kind: Kind, meta: Meta) -> Self {
        Self { kind, meta, content: Content::None, hash: None }
    }
}

/// Files by path. They are boxed because the map's nodes are half empty, and there may be a million
/// files.
pub(crate) type Files = BTreeMap<Vec<u8>, Box<Staged>>;

/// The metadata of new parent folders.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewDir {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Mtime,
}
