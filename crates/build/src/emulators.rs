//! Emulators: those that a build uses.

mod in_use;

pub use in_use::EmulatorInUse;
pub(crate) use in_use::in_use;
