//! Software bills of materials: the packages that an image has, as its package managers and lock
//! files tell.
//!
//! [`source_of`] says by its path whether a file tells of packages, [`Source::read`] reads it, and
//! [`Inventory::document`] writes what was found.

mod apk;
mod dpkg;
mod go;
mod inventory;
mod node;
mod nuget;
mod package;
mod paragraphs;
mod php;
mod python;
mod ruby;
mod rust;
mod source;
mod spdx;
mod system;
mod toml_lock;

pub use inventory::{FilePlace, Inventory};
pub use package::{Listing, Package, Unread};
pub use source::{MAX_SOURCE, Source, source_of};
pub use spdx::{Described, SPDX_TYPE};
pub use system::{SYSTEM_FILES, System};

#[cfg(test)]
mod tests;
