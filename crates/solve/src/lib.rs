//! Walks the build graph: each vertex is found in the cache or done by the stages behind the
//! seams of `model`; the results are image configurations with their layers.
//!
//! The key of a result holds the definition of the step and the *results* of its inputs: the layers
//! below a RUN, the files that a COPY selected. So a step whose inputs have the same results as
//! before is not done again, whatever happened to the inputs.
//!
//! The parts of a step that ran are kept as well, under its place in the Dockerfile, so that the
//! step can say why it runs again ([`Reason`]). They are read only after a miss.

mod beside;
mod claims;
mod compare;
mod error;
mod event;
mod failures;
mod file_hashes;
mod finish;
mod foresight;
mod key;
mod lookup;
mod memory;
mod mounts;
mod options;
mod places;
mod reason;
mod result;
mod schedule;
mod seen;
mod spans;
mod step;
mod work;

pub use beside::{Beside, Identities, SharedSteps};
pub use error::{MountFailure, SolveError};
pub use event::{Event, Events};
pub use finish::BuiltImage;
pub use foresight::{is_done, to_do};
pub use options::{SolveOptions, Stages};
pub use reason::{Change, FileChanges, Reason, Setting, StepKind};
pub use schedule::solve;

#[cfg(test)]
mod tests;
