//! The meaning of a command line.

use std::ffi::OsString;

/// A command line, once it is known what it means.
pub(crate) enum Meant {
    /// A command line of xbuild.
    Line(Vec<OsString>),
    /// A text to print.
    Text(String),
}
