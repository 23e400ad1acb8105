//! The errors of tasks and of the layer engine.

use std::io;
use std::path::PathBuf;

use xbuild_files::{DiffError, UnpackError};
use xbuild_layer::decode::Bound;
use xbuild_layer::{LayerError, ShownPath};
use xbuild_model::{DiffId, Digest, FailureKind, StepFailure, WrongBytes};
use xbuild_store::StoreError;
use xbuild_wording::{hints, quoted};

/// A failure of a task inside the user namespace. Crosses the process boundary as text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The request does not match this version of the task.
    #[error("malformed request")]
    Request {
        /// Why.
        #[from]
        source: serde_json::Error,
    },
    /// The request came without the pipe that it needs.
    #[error("the request lacks a file descriptor")]
    NoPipe,
    /// A folder could not be opened, changed or removed.
    #[error("cannot {action} {}", path.display())]
    Folder {
        /// The failed action, as a verb.
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Unpacking failed.
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    /// Comparing failed.
    #[error(transparent)]
    Diff(#[from] DiffError),
}

impl TaskError {
    /// Returns who has to act.
    pub fn kind(&self) -> FailureKind {
        match self {
            // The command made a file that no layer can hold.
            Self::Diff(DiffError::Reserved { .. } | DiffError::Unfit { .. }) => FailureKind::Step,
            _ => FailureKind::Internal,
        }
    }
}

/// A failure of the layer engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A layer is neither in the store nor in a known image.
    #[error("layer {layer} is neither in the store nor part of a known image")]
    UnknownLayer {
        /// The layer.
        layer: DiffId,
    },
    /// The media type of a layer is not supported.
    #[error(
        "layer {layer} has the unsupported media type {media_type}",
        media_type = quoted(.media_type)
    )]
    MediaType {
        /// The layer.
        layer: DiffId,
        /// Its media type.
        media_type: String,
    },
    /// A blob holds another layer than the image's configuration states.
    #[error("blob {blob} should hold layer {expected}, but holds {actual}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// The layer that the configuration names.
        expected: DiffId,
        /// The layer that the blob holds.
        actual: DiffId,
    },
    /// A layer's blob came with other bytes, again and again.
    #[error(transparent)]
    WrongBytes(#[from] WrongBytes),
    /// The tree index that a shared cache has for a layer is not that of the layer.
    #[error("the shared cache has a wrong tree index for layer {layer}")]
    ForeignIndex {
        /// The layer.
        layer: DiffId,
    },
    /// A layer has just vanished.
    #[error("layer {layer} has vanished from the store")]
    LayerGone {
        /// The layer.
        layer: DiffId,
    },
    /// The stack has no layer of this number.
    #[error("there is no layer number {number}")]
    NoSuchLayer {
        /// The number, counted from the bottom, from 0.
        number: u32,
    },
    /// A file of an image is too large to be read.
    #[error("{path} of the image has more than {limit} bytes")]
    FileTooLarge {
        /// The file.
        path: ShownPath,
        /// The limit, in bytes.
        limit: u64,
    },
    /// There is no build context with this name.
    #[error("unknown build context {name}", name = quoted(.name))]
    UnknownContext {
        /// Its name.
        name: String,
    },
    /// A step has remote sources, and the engine has nothing to fetch them with.
    #[error("nothing is there to fetch remote sources with")]
    NoSources,
    /// A layer cannot be read or written.
    #[error("cannot process layer {layer}")]
    Layer {
        /// The layer.
        layer: DiffId,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A new layer cannot be made.
    #[error("cannot make the layer")]
    NewLayer {
        /// Why.
        #[source]
        source: LayerError,
    },
    /// A new layer compresses so well that no reader would unpack it.
    #[error(
        "the layer has {size} bytes and compresses to {compressed}, which readers refuse: beyond \
         {} bytes they unpack {} bytes for each byte. Its largest file is {path}, with {largest} \
         bytes",
        bound.allowance,
        bound.ratio
    )]
    Dense {
        /// The uncompressed bytes of the layer.
        size: u64,
        /// The bytes of its blob.
        compressed: u64,
        /// The bound of readers.
        bound: Bound,
        /// The largest file.
        path: ShownPath,
        /// Its bytes.
        largest: u64,
    },
    /// A new layer cannot be kept.
    #[error("cannot keep layer {layer}")]
    KeepLayer {
        /// The layer.
        layer: DiffId,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation around a task failed.
    #[error("cannot {action}")]
    Io {
        /// The failed action.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A cache folder cannot be given to its owner.
    #[error("cannot give the cache mount {id} to {uid}:{gid}", id = quoted(.id))]
    CacheOwner {
        /// The name of the cache mount.
        id: String,
        /// The user, as numbered inside the image.
        uid: u32,
        /// The group, as numbered inside the image.
        gid: u32,
        /// Why.
        #[source]
        source: StepFailure,
    },
    /// Another stage failed.
    #[error(transparent)]
    Stage(#[from] StepFailure),
}

impl From<LayerError> for EngineError {
    /// Takes an error of an unfinished layer. A failure of the store comes through a writer as the
    /// cause of an error of the output, and becomes an error of the store here.
    fn from(error: LayerError) -> Self {
        let LayerError::Write { source } = error else { return Self::NewLayer { source: error } };
        match LayerError::from_write(source) {
            LayerError::Write { source } => match source.downcast::<StoreError>() {
                Ok(error) => Self::Store(error),
                Err(source) => Self::NewLayer { source: LayerError::Write { source } },
            },
            source => Self::NewLayer { source },
        }
    }
}

/// The advice about [`EngineError::Dense`].
impl EngineError {
    /// Returns the failure of a step whose files a command has made.
    pub(crate) fn of_command(self) -> StepFailure {
        match self {
            Self::Dense { .. } => {
                StepFailure::new(FailureKind::Step, self).with_hint(hints::mostly_zeros())
            }
            error => error.into(),
        }
    }
}

impl From<EngineError> for StepFailure {
    fn from(error: EngineError) -> Self {
        let kind = match error {
            EngineError::Stage(failure) => return failure,
            EngineError::UnknownContext { .. } | EngineError::FileTooLarge { .. } => {
                FailureKind::User
            }
            EngineError::Dense { .. } => {
                return Self::new(FailureKind::User, error).with_hint(hints::mostly_zeros());
            }
            EngineError::CacheOwner { .. } => {
                return Self::new(FailureKind::Environment, error).with_hint(hints::within_range());
            }
            EngineError::WrongBytes(ref wrong) => wrong.kind,
            EngineError::DiffId { .. } | EngineError::MediaType { .. } => FailureKind::Remote,
            EngineError::Layer { .. } | EngineError::Store(StoreError::Mismatch { .. }) => {
                FailureKind::Remote
            }
            _ => FailureKind::Internal,
        };
        Self::new(kind, error)
    }
}
