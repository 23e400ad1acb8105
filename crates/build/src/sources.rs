//! Which sources a build may use, and in which versions: policies, and the lock file.

mod error;
mod gate;
mod lock;
mod lock_file;
mod names;
mod policy;
mod unique_names;

pub use error::SourceError;
pub(crate) use gate::Gate;
pub use lock::lock;
pub use lock_file::{Lock, LockError};
pub use policy::{Policy, PolicyError};
