//! A set of twins: what a step needs to know about the twins of its base image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The twins of steps of a base image, in a folder of files that [`super::Candidates::make`] or
/// [`super::cross`] returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinSet {
    /// The architecture whose programs they stand for, in OCI terms.
    pub architecture: String,
    /// Whether that architecture has the lowest byte of a number first.
    pub little: bool,
    /// Where they come from.
    pub origin: Origin,
    /// The twins.
    pub twins: Vec<Twin>,
}

/// Where twins come from, which decides where steps see them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The base image's sibling.
    Sibling,
    /// The distribution's cross compilers.
    Cross,
}

impl Origin {
    /// Returns the name of the folder in `/dev`. All have the same length.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sibling => ".twin",
            Self::Cross => ".tool",
        }
    }

    /// Returns the folder in the root of a step.
    pub(crate) fn folder(self) -> String {
        format!("/dev/{}", self.name())
    }

    /// Returns the path of a file in that folder, with as many slashes as `length` bytes take, which mean
    /// nothing; `None` if it is longer.
    pub(super) fn path_of_length(self, name: &str, length: usize) -> Option<String> {
        let folder = self.folder();
        let more = length.checked_sub(folder.len() + "/".len() + name.len())?;
        Some(format!("{folder}/{}{name}", "/".repeat(more)))
    }
}

/// A program that has a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// The path of the program in the image, without links and without a slash in front.
    pub path: String,
    /// The bytes of the program that the kernel recognises it by.
    pub magic: Vec<u8>,
    /// The build of its file; `None` for the base image's own file, unchanged.
    pub build: Option<ProgramBuild>,
    /// The names by which it may be called; empty if any will do. The first is the program's own, after
    /// which the first argument is the name.
    pub names: Vec<String>,
    /// The arguments that it may have.
    pub arguments: Arguments,
    /// Absolute paths that there must not be in the step's root.
    pub absent: Vec<String>,
    /// Absolute paths that there must be.
    pub present: Vec<String>,
    /// Absolute paths of files that must have the texts beside them. A path with a slash at its end is a
    /// folder's, whose text has the names that may be in it, with a space after each.
    pub texts: Vec<(String, String)>,
    /// An argument, and the one of the same length that takes its place.
    pub exchanged: Option<(String, String)>,
}

/// The build that a program's file is of, by which it is known wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramBuild {
    /// Bytes of the file.
    pub size: u64,
    /// The modification time in its package: seconds since 1970.
    pub modified: i64,
    /// The place of the build ID in the file.
    pub id_at: u64,
    /// The build ID.
    pub id: Vec<u8>,
}

/// The arguments that a program may have to run natively.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arguments {
    /// All that there are.
    Any,
    /// No option with this letter.
    Without(u8),
    /// The text of an awk program that computes nothing whose result may depend on the processor.
    PlainAwk,
    /// Those with which a package is unpacked.
    Unpack,
    /// Those with which apk changes the packages of its own root.
    ApkChange,
    /// Those with which a compiler compiles.
    Compile,
    /// Those with which a compiler links; [`Twin::exchanged`] has the path of its plugin.
    Link,
}

impl TwinSet {
    /// Returns how many programs these are; each name of one with many counts.
    pub fn count(&self) -> usize {
        // The first name stands for the others.
        self.twins.iter().map(|twin| twin.names.len().saturating_sub(1).max(1)).sum()
    }
}

/// Twins that a step may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepTwins {
    /// The folder of the set.
    pub folder: PathBuf,
    /// The set, as far as its programs are still those of the base image.
    pub set: TwinSet,
}

/// A file of a set.
#[derive(Debug)]
pub struct SetFile {
    /// Its path in the folder of the set.
    pub path: String,
    /// Its contents.
    pub source: Source,
}

/// The contents of a file of a set.
#[derive(Debug)]
pub enum Source {
    /// These bytes, in a file with mode 0755.
    Bytes(Vec<u8>),
    /// A hard link to another file of the set, which came before.
    Link(String),
}

/// The folder of a set's files that steps see as [`Origin::folder`].
pub(crate) const ROOT: &str = "root";

/// The loader among them.
pub(crate) const LOADER: &str = "ld.so";

/// The folder of a set's files with the emulator under the path of each program.
pub(crate) const NAMES: &str = "names";
