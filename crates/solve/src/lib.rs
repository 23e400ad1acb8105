//! Walks the build graph: each vertex is found in the cache or done by the stages behind the
//! seams of `model`; the results are image configurations with their layers.
//!
//! A result is looked up by what the step says and by the *results* of its inputs: a RUN by its
//! definition and the layers below it, a COPY by its definition and the files that it selected.
//! So a step whose inputs came out the same as before is not done again, whatever happened to
//! them.
//!
//! What a step was made of when it last ran is kept beside the results, by its place in the
//! Dockerfile, so that a step that runs again says why ([`Reason`]). It is read only after a miss.

mod compare;
mod error;
mod event;
mod file_hashes;
mod finish;
mod foresight;
mod key;
mod lookup;
mod memory;
mod mounts;
mod options;
mod reason;
mod result;
mod schedule;
mod seen;
mod spans;
mod step;

pub use error::{MountFailure, SolveError};
pub use event::{Event, Events};
pub use finish::BuiltImage;
pub use foresight::to_do;
pub use options::{SolveOptions, Stages};
pub use reason::{Change, FileChanges, Reason, Setting, StepKind};
pub use schedule::solve;

#[cfg(test)]
mod tests;
