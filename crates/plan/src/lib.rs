//! Typed Dockerfile instructions to one build graph for all platforms.
//!
//! [`plan()`] is pure: it uses no files, environment, clock or network. It returns a list of the
//! images that it must know ([`Planned::Needs`]) and is called again with them ([`Images`]).
//!
//! **Source**: Dockerfile reference as of Dockerfile frontend 1.20; OCI image-spec 1.1 `config.md`;
//! where they are silent, BuildKit (2026-08) as measured.

mod arguments;
mod builder;
mod config;
mod definition;
mod dump;
mod epoch;
mod error;
mod graph;
mod history;
mod idle_mounts;
mod lint;
mod mount;
mod options;
mod origins;
mod outline;
mod paths;
mod plan;
mod planner;
mod reach;
mod refused_mounts;
mod run;
mod signal;
mod state;
#[cfg(test)]
mod tests;
mod transfer;
mod variables;
mod warning;

pub use epoch::{EpochSource, epoch_source};
pub use error::{Covered, MountError, PlanError, PlanErrorKind, PlanErrors};
pub use graph::{Graph, Op, Origin, Output, PlannedHistory, Position, Vertex, VertexId};
pub use history::HISTORY_COMMENT;
pub use lint::lint;
pub use options::{
    DEFAULT_HOSTNAME, DEFAULT_SHM_SIZE, ImageRequest, Images, NamedContext, PlanOptions, Planned,
    is_main_context, main_context,
};
pub use outline::{Outline, OutlinedArg, OutlinedMount, outline};
pub use paths::clean as clean_path;
pub use plan::{check, plan, plan_all};
pub use warning::Warning;
pub use xbuild_dockerfile::Span;
