//! The parts of a step that need a user namespace of the build's: its namespaces, its mounts, its
//! root file system.
//!
//! `kit` makes `/dev`, `/proc` and `/sys` before the request comes, `build` does the rest: it
//! mounts the layers (`root`, `overlay`), moves the kit in, binds generated files (`bind`), mounts
//! the step's own mounts (`run_mounts`), and enters. `stubs` removes the traces afterwards. `trial` does as much of this as a step does
//! on any machine, to find out whether this one allows it.

mod attributes;
mod bind;
pub(super) mod build;
mod dev;
pub(super) mod kit;
mod masks;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod overlay;
mod proc;
mod root;
pub(super) mod run_mounts;
mod secrets;
mod sysfs;
pub(crate) mod trial;
mod twins;
