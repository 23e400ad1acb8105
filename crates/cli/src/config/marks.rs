//! Marks of options in clap's definition.

use clap::builder::ArgExt;

/// The mark of an option that belongs to one call, and that the file must not set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OnLineOnly;

impl ArgExt for OnLineOnly {}
