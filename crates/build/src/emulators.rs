//! Emulators: those that a build uses, and those that the user installs into the store.

mod files;
mod image;
mod in_use;
mod install;
mod installed;
mod local;
mod source;

pub use in_use::EmulatorInUse;
pub(crate) use in_use::in_use;
pub use install::{Installation, Installations, install};
pub(crate) use installed::installed_in;
pub use installed::{InstalledRecord, installed_records};
pub use source::EmulatorSource;
