//! The requests of COPY, ADD and WORKDIR to the layer engine.

use serde::{Deserialize, Serialize};

use crate::Chain;
use crate::remote::RemoteSource;

/// A step that changes files without running anything. All text is expanded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FileOp {
    /// COPY and ADD.
    Copy(CopyRequest),
    /// WORKDIR: make a folder and its missing parents.
    MakeDir(MakeDir),
    /// A part of a build context that a RUN has mounted. The layer holds nothing but [`PICKED`].
    Pick {
        /// The file or folder: a path below the root of the origin, no pattern; absolute and
        /// clean. Symbolic links in it and at its end are followed.
        path: String,
    },
}

/// The absolute path that [`FileOp::Pick`] puts its file or folder at.
pub const PICKED: &str = "/picked";

/// A folder to make. Makes no layer if it exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MakeDir {
    /// Absolute. The folder before a `..` part is made too, as `mkdir -p` does it.
    pub path: String,
    /// The owner of new folders: `USER` as written, looked up in the image's own files; empty for
    /// root.
    pub user: String,
}

/// A COPY or ADD of sources of one origin.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CopyRequest {
    /// The paths (patterns with Go `filepath.Match` syntax) below the root of the origin.
    pub sources: Vec<String>,
    /// ADD: the sources to fetch, in order.
    pub remotes: Vec<RemoteFiles>,
    /// Files given in the Dockerfile itself, after the sources, in order.
    pub inline: Vec<InlineFile>,
    /// The destination: absolute, cleaned but for a trailing slash, which means "a folder".
    pub dest: String,
    /// `--chown` as written after expansion.
    pub chown: Option<String>,
    /// `--chmod` as written after expansion: octal, or symbolic where implemented.
    pub chmod: Option<String>,
    /// `--link`: independent of the parent's files.
    pub link: bool,
    /// `--parents`.
    pub parents: bool,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
    /// ADD: unpack local archives. `None` for COPY.
    pub unpack: Option<bool>,
}

impl CopyRequest {
    /// Returns whether the layer is independent of the files below. With `--chmod`, `--link` does not
    /// make it so, as measured in BuildKit.
    pub fn is_linked(&self) -> bool {
        self.link && self.chmod.is_none()
    }
}

/// Files of an ADD that have to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RemoteFiles {
    /// How many of [`CopyRequest::sources`] come before them.
    pub after: usize,
    /// Their source.
    pub source: RemoteSource,
    /// Whether a file that is an archive is unpacked.
    pub unpack: bool,
}

/// A file whose contents are in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InlineFile {
    /// Its name in the destination folder.
    pub name: String,
    /// Its contents, expanded.
    pub contents: String,
}

/// The place of the sources of a [`CopyRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyOrigin {
    /// The build context of that name; the empty name is the main one.
    Context(String),
    /// The files of a stack of layers: a stage or an image.
    Layers(Chain),
}
