//! The layer engine: layers on demand, unpacking, the difference of a written folder, and what
//! COPY, ADD and WORKDIR write. Layers as bytes are in `xbuild_layer`.

mod archive;
mod context;
pub mod context_tar;
pub mod copy;
pub mod diff;
pub mod engine;
mod error;
pub mod flatten;
mod pattern;
pub mod remove;
pub mod root;
mod sink;
pub mod tasks;
pub mod unpack;

pub use context::Context;
pub use engine::{Engine, EngineOptions, LayerBlob};
pub use error::{CopyError, DiffError, EngineError, TaskError, UnpackError};
pub use pattern::{IgnoreRules, PatternError};
pub use root::Root;
pub use sink::{LayerSink, SinkBlob, SinkResult, Spool};
