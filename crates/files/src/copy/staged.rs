//! A file that a step is going to write.

use std::collections::BTreeMap;

use xbuild_layer::{ContentHash, Kind, Meta, Mtime};

use crate::source::Content;

/// A file to be written.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// What it is.
    pub(crate) kind: Kind,
    /// Owner, mode, times, attributes.
    pub(crate) meta: Meta,
    /// Where its contents are.
    pub(crate) content: Content,
    /// Their hash; `None` also for contents in archives.
    pub(crate) hash: Option<ContentHash>,
}

impl Staged {
    /// Makes one that is no regular file.
    pub(crate) fn without_content(kind: Kind, meta: Meta) -> Self {
        Self { kind, meta, content: Content::None, hash: None }
    }
}

/// Files by path. Nodes of the map are half empty as a rule: there may be a million of them.
pub(crate) type Files = BTreeMap<Vec<u8>, Box<Staged>>;

/// How folders are that are made because something goes into them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewDir {
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
    pub(crate) mtime: Mtime,
}
