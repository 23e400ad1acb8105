//! The files of this machine: build contexts, the files that COPY, ADD and WORKDIR write, and
//! folders that layers are unpacked to and compared with.
//!
//! Every path of an image, context or stage goes through [`Root`]: descriptors, never joined
//! strings. Layers come and go as values of `xbuild_layer`.

pub mod archive;
pub mod changes;
mod clear;
mod clone;
mod context;
pub mod context_tar;
pub mod copy;
pub mod diff;
mod error;
pub mod flatten;
mod holes;
mod on_disk;
pub mod owners;
mod pattern;
mod resolve;
pub mod revert;
pub mod root;
mod source;
mod stamp;
pub mod stamps;
pub mod unpack;

pub use clear::clear;
pub use clone::clone;
pub use context::{Context, Kept};
pub use error::{CopyError, DiffError, IgnoreError, Instead, PatternError, UnpackError};
pub use pattern::IgnoreRules;
pub use root::Root;
