//! A package, and why there may be none.

use crate::Purl;

/// A package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name, as its own tools write it.
    pub name: String,
    /// Its version; may be empty.
    pub version: String,
    /// The URL that names it everywhere.
    pub purl: Purl,
    /// The licence as its package manager writes it, which need not be an expression of SPDX.
    pub license: Option<String>,
}

/// Why the packages of a file are not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Nobody here reads such files.
    Unknown(&'static str),
    /// The file is not what its name says.
    Malformed(&'static str),
    /// The file has more bytes than are read.
    Large,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(kind) => write!(f, "{kind} is not read"),
            Self::Malformed(kind) => write!(f, "it is no {kind}"),
            Self::Large => f.write_str("it is too large"),
        }
    }
}

/// Returns the value of a line `NAME SEPARATOR VALUE`, without blanks around it.
pub(super) fn value_of<'a>(line: &'a str, name: &str, separator: char) -> Option<&'a str> {
    Some(line.strip_prefix(name)?.strip_prefix(separator)?.trim())
}
