//! The errors of COPY, ADD, WORKDIR and exports, of unpacking and comparing.

use std::io;
use std::path::PathBuf;

use xbuild_layer::{EntryFault, LayerError, ResolveError, ShownPath};
use xbuild_model::passwd::UserError;
use xbuild_model::{ModeError, StepFailure};
use xbuild_wording::quoted;

/// What is there where a source was searched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instead {
    /// Whether the ignore file leaves the source out.
    pub is_ignored: bool,
    /// The folders above the first part that is missing, each with a slash at its end.
    pub above: String,
    /// The first part that is missing; empty if nothing is known.
    pub part: String,
    /// The parts below it, each with a slash at its beginning.
    pub below: String,
    /// The names of files beside it, some at least.
    pub names: Vec<String>,
}

/// A failure to prepare or write the files of a COPY, ADD, WORKDIR or export.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// A build context cannot be opened.
    #[error("cannot open the build context {}", path.display())]
    OpenContext {
        /// The folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A source file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file, below the root of the origin.
        path: ShownPath,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Somebody wrote to a file while it was copied.
    #[error("{path} changed while it was copied")]
    Changed {
        /// The file, below the root of the origin.
        path: ShownPath,
    },
    /// A source does not exist.
    #[error("{path}: not found in {place}")]
    NotFound {
        /// The source, as written.
        path: ShownPath,
        /// The place where it was searched.
        place: &'static str,
        /// What is there instead.
        instead: Box<Instead>,
    },
    /// A path is not a folder, but must be one.
    #[error("{path} is not a directory")]
    NotAFolder {
        /// The path, below the root of the image.
        path: ShownPath,
    },
    /// A file would replace a folder.
    #[error("cannot replace the directory {path} with a file")]
    OverFolder {
        /// The folder.
        path: ShownPath,
    },
    /// A folder would replace another kind of file.
    #[error("cannot copy a directory over {path}, which is not a directory")]
    OverFile {
        /// The file that is there.
        path: ShownPath,
    },
    /// A path cannot be resolved.
    #[error("cannot follow a path")]
    Resolve {
        /// Why it failed.
        #[from]
        source: ResolveError,
    },
    /// A path is not allowed in a layer.
    #[error("{path}: {fault}")]
    Path {
        /// The path.
        path: ShownPath,
        /// The fault.
        fault: EntryFault,
    },
    /// A pattern is malformed.
    #[error("invalid pattern in {place}")]
    Pattern {
        /// The place of the pattern.
        place: &'static str,
        /// The fault.
        #[source]
        source: PatternError,
    },
    /// The value of `--chmod` is not a mode.
    #[error(transparent)]
    Mode(#[from] ModeError),
    /// A number of `--chown` or USER is out of range.
    #[error("invalid owner {text}", text = quoted(.text))]
    Owner {
        /// The owner, as written.
        text: String,
        /// The fault.
        #[source]
        source: UserError,
    },
    /// The number of a user or group has a sign.
    #[error("invalid owner {text}: a number must not have a sign", text = quoted(.text))]
    SignedOwner {
        /// The owner, as written.
        text: String,
    },
    /// A name cannot be looked up, because the layer is made without the image below.
    #[error(
        "--chown {text} with --link: the user and group must be numbers, since no passwd file is at hand", text = quoted(.text)
    )]
    OwnerOfLink {
        /// The owner, as written.
        text: String,
    },
    /// The layers of the origin or of the image below cannot be read.
    #[error("cannot read the layers")]
    Layers {
        /// Why it failed.
        #[source]
        source: StepFailure,
    },
    /// An archive cannot be unpacked.
    #[error("cannot unpack {archive}")]
    Archive {
        /// The archive, below the root of the context.
        archive: ShownPath,
        /// Why it failed.
        #[source]
        source: LayerError,
    },
    /// A hard link of an archive has a target that is not in the archive.
    #[error(
        "cannot unpack {archive}: the hard link {path} has the target {target}, which is no file of the archive"
    )]
    ArchiveLink {
        /// The archive.
        archive: ShownPath,
        /// The link.
        path: ShownPath,
        /// Its target.
        target: ShownPath,
    },
    /// A layer has changed since it was indexed.
    #[error("layer {number} no longer has the file at position {position}")]
    LayerChanged {
        /// The number of the layer in its stack.
        number: u32,
        /// The position of the file in the layer.
        position: u32,
    },
    /// A file of an unpacked layer differs from the layer.
    #[error(
        "the unpacked layer {number} in the store has another file than the layer at position {position}: \
         somebody has changed the store"
    )]
    FolderChanged {
        /// The number of the layer in its stack.
        number: u32,
        /// The position of the file in the layer.
        position: u32,
    },
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A file of an export cannot be written.
    #[error("cannot write {path}")]
    Export {
        /// The file, below the exported folder.
        path: ShownPath,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// A failure to unpack a layer. The folder stays half-filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The layer cannot be read.
    #[error("cannot read the layer")]
    Layer {
        /// Why.
        #[from]
        source: LayerError,
    },
    /// A file could not be made.
    #[error("cannot unpack {path}")]
    Entry {
        /// The file.
        path: ShownPath,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A failure to determine the changes of a command.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// The layer cannot be written.
    #[error("cannot write the layer")]
    Layer {
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A command made a file that no layer can hold.
    #[error("the command made {path}, which no image can have: {fault}")]
    Unfit {
        /// The file.
        path: ShownPath,
        /// Why.
        fault: EntryFault,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Entry {
        /// The file.
        path: ShownPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The stamps of the last walk cannot be read, or those of this one not written.
    #[error("cannot keep the stamps of a folder's files")]
    Stamps {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The files of the layers below cannot be looked up.
    #[error("cannot look up {path} in the layers below")]
    Below {
        /// The file.
        path: ShownPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A command made a file with a name that layers use for removed files.
    #[error(
        "the command made {path}: in a layer a name that begins with .wh. removes another file, so \
         no image can have it"
    )]
    Reserved {
        /// The file.
        path: ShownPath,
    },
}

impl From<LayerError> for DiffError {
    fn from(source: LayerError) -> Self {
        match source {
            LayerError::Entry { path, fault } => Self::Unfit { path, fault },
            source => Self::Layer { source },
        }
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A class without an end or with an empty range, or a single backslash at the end.
    #[error("syntax error in pattern {pattern}", pattern = quoted(.pattern))]
    Syntax {
        /// The pattern, shortened; bytes that are not UTF-8 are replaced.
        pattern: String,
    },
    /// A `!` without a pattern.
    #[error("a \"!\" without a pattern")]
    LoneNegation,
}

/// A pattern of an ignore file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct IgnoreError {
    /// The line, from 1 on.
    pub line: usize,
    /// The reason.
    pub error: PatternError,
}

impl PatternError {
    pub(crate) fn syntax(pattern: &[u8]) -> Self {
        Self::Syntax { pattern: String::from_utf8_lossy(pattern).chars().take(200).collect() }
    }
}

impl CopyError {
    pub(crate) fn read(path: &[u8]) -> impl FnOnce(io::Error) -> Self {
        let path = ShownPath(path.to_vec());
        move |source| Self::Read { path, source }
    }

    pub(crate) fn path(path: &[u8]) -> impl FnOnce(EntryFault) -> Self {
        let path = ShownPath(path.to_vec());
        move |fault| Self::Path { path, fault }
    }
}
