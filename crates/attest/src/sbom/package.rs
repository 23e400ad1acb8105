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

/// The packages of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The packages, in the order of the file.
    pub packages: Vec<Package>,
    /// Why packages may be missing.
    pub unread: Option<Unread>,
}

impl From<Vec<Package>> for Listing {
    fn from(packages: Vec<Package>) -> Self {
        Self { packages, unread: None }
    }
}

impl From<Unread> for Listing {
    fn from(why: Unread) -> Self {
        Self { packages: Vec::new(), unread: Some(why) }
    }
}

impl From<Result<Vec<Package>, Unread>> for Listing {
    fn from(read: Result<Vec<Package>, Unread>) -> Self {
        read.map_or_else(Self::from, Self::from)
    }
}

/// Why the packages of a file are not known, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// Nobody here reads such files.
    Unknown(&'static str),
    /// The file is not what its name says.
    Malformed(&'static str),
    /// The file has more bytes than are read.
    Large,
    /// The file has the marks of a merge that was not finished.
    Conflict,
    /// Entries of the file lack their name or version.
    Entries {
        /// The number of these entries.
        count: usize,
        /// The line of the first, from 1.
        line: usize,
    },
    /// The file ends within a line.
    CutOff,
}

impl std::fmt::Display for Unread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(kind) => write!(f, "{kind} is not read"),
            Self::Malformed(kind) => write!(f, "it is no {kind}"),
            Self::Large => f.write_str("it is too large"),
            Self::Conflict => f.write_str("it has the marks of a merge that was not finished"),
            Self::Entries { count: 1, line } => {
                write!(f, "the entry at line {line} lacks its name or version")
            }
            Self::Entries { count, line } => {
                write!(f, "{count} entries lack their name or version, the first at line {line}")
            }
            Self::CutOff => f.write_str("it ends within a line, and its end may be missing"),
        }
    }
}

/// Returns the value of a line `NAME SEPARATOR VALUE`, without blanks around it.
pub(super) fn value_of<'a>(line: &'a str, name: &str, separator: char) -> Option<&'a str> {
    Some(line.strip_prefix(name)?.strip_prefix(separator)?.trim())
}

/// Refuses a text that has no mark of a file of this kind. An empty one tells of no package.
pub(super) fn expect_marks(has_marks: bool, text: &str, kind: &'static str) -> Result<(), Unread> {
    match has_marks || text.trim().is_empty() {
        true => Ok(()),
        false => Err(Unread::Malformed(kind)),
    }
}
