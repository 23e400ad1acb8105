//! A set of twins: what a step needs to know about the twins of its base image.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The twins of a base image, in a folder of files that [`super::Candidates::make`] returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwinSet {
    /// The architecture whose programs they stand for, in OCI terms.
    pub architecture: String,
    /// Whether that architecture has the lowest byte of a number first.
    pub little: bool,
    /// The twins.
    pub twins: Vec<Twin>,
}

/// A program that has a twin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// The path of the program in the image, without links and without a slash in front.
    pub path: String,
    /// The bytes of the program that the kernel recognises it by.
    pub magic: Vec<u8>,
    /// The names by which it may be called; empty if any will do. The first is the program's own, after
    /// which the first argument is the name.
    pub names: Vec<String>,
    /// The arguments that it may have.
    pub arguments: Arguments,
    /// Absolute paths that there must not be in the step's root.
    pub absent: Vec<String>,
    /// Absolute paths that there must be.
    pub present: Vec<String>,
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
}

impl TwinSet {
    /// Returns how many programs these are; each name of one with many counts.
    pub fn count(&self) -> usize {
        // The first name stands for the others.
        self.twins.iter().map(|twin| twin.names.len().saturating_sub(1).max(1)).sum()
    }
}

/// The twins that a step may have.
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

/// The folder of a set's files that steps see as [`super::FOLDER`].
pub(crate) const ROOT: &str = "root";

/// The folder of a set's files with the emulator under the path of each program.
pub(crate) const NAMES: &str = "names";
