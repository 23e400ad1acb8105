//! What can go wrong with layers and with files.

mod copy;
mod engine;

pub use copy::CopyError;
pub use engine::{DiffError, EngineError, TaskError, UnpackError};
