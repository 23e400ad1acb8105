//! What can go wrong with tasks and the layer engine.

use std::io;
use std::path::PathBuf;

use xbuild_files::{DiffError, UnpackError};
use xbuild_layer::{LayerError, ShownPath};
use xbuild_model::{DiffId, Digest, FailureKind, StepFailure};
use xbuild_store::StoreError;

/// A failure of a task inside the user namespace. Crosses the process boundary as text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The request is not what this version of the task expects.
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
        /// What was attempted, as a verb.
        action: &'static str,
        /// On which folder or file.
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
    /// Returns whose business it is.
    pub fn kind(&self) -> FailureKind {
        match self {
            // The command did what no layer can hold.
            Self::Diff(DiffError::Reserved { .. }) => FailureKind::Step,
            _ => FailureKind::Internal,
        }
    }
}

/// A failure of the layer engine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A layer is named that nobody knows where to get.
    #[error("layer {layer} is neither in the store nor part of a known image")]
    UnknownLayer {
        /// The layer.
        layer: DiffId,
    },
    /// The media type of a layer is none that can be read.
    #[error("layer {layer} has the unsupported media type {media_type:?}")]
    MediaType {
        /// The layer.
        layer: DiffId,
        /// Its media type.
        media_type: String,
    },
    /// A blob holds another layer than the image configuration says.
    #[error("blob {blob} should hold layer {expected}, but holds {actual}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// The layer that the configuration names.
        expected: DiffId,
        /// What the blob unpacks to.
        actual: DiffId,
    },
    /// What was there a moment ago is gone.
    #[error("layer {layer} has vanished from the store")]
    LayerGone {
        /// The layer.
        layer: DiffId,
    },
    /// A stack of layers has no layer of that number.
    #[error("there is no layer number {number}")]
    NoSuchLayer {
        /// The number, from the bottom, 0 first.
        number: u32,
    },
    /// A file of an image that must be small is not.
    #[error("{path} of the image has more than {limit} bytes")]
    FileTooLarge {
        /// The file.
        path: ShownPath,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A build context is named that was not given.
    #[error("unknown build context {name:?}")]
    UnknownContext {
        /// Its name.
        name: String,
    },
    /// A step takes files from elsewhere, and nobody was named who fetches them.
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
    /// A layer that was made cannot be kept.
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
    /// A file operation on the way to a task failed.
    #[error("cannot {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A cache folder cannot be given to who shall own it.
    #[error("cannot give the cache mount {id:?} to {uid}:{gid}")]
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
    /// Takes an error of a layer in the making. A failure of the store comes through a writer as
    /// an error of the output, and is the store's here.
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

impl From<EngineError> for StepFailure {
    fn from(error: EngineError) -> Self {
        let kind = match error {
            EngineError::Stage(failure) => return failure,
            EngineError::UnknownContext { .. } | EngineError::FileTooLarge { .. } => {
                FailureKind::User
            }
            EngineError::CacheOwner { .. } => {
                let hint = "the ids must be within the range that /etc/subuid and /etc/subgid give";
                return Self::new(FailureKind::Environment, error).with_hint(hint);
            }
            EngineError::DiffId { .. } | EngineError::MediaType { .. } => FailureKind::Remote,
            EngineError::Layer { .. } | EngineError::Store(StoreError::Mismatch { .. }) => {
                FailureKind::Remote
            }
            _ => FailureKind::Internal,
        };
        Self::new(kind, error)
    }
}
