//! The layer engine: layers on demand, their folders, and new layers from commands and copies.
//!
//! It implements [`xbuild_model::seam::Snapshots`] with the store, layers as bytes (`xbuild_layer`)
//! and files (`xbuild_files`).

mod below;
mod dense;
pub mod engine;
mod error;
pub mod folder_tasks;
pub mod remove;
mod sink;
mod task_input;
pub mod tasks;

pub use engine::{
    CachedLayer, Engine, EngineOptions, ExportedLayer, FetchIndex, FindMount, OnWrong, PackedMount,
    Siblings, UsedMount,
};
pub use error::{EngineError, TaskError};
pub use sink::{LayerSink, SinkBlob, SinkResult, Spool};
