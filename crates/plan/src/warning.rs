//! Warnings that are not about the Dockerfile.

use std::fmt;

/// An option without effect. [`crate::lint()`] reports unwise instructions of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// No ARG declares a build argument.
    UnusedBuildArg {
        /// Its name.
        name: String,
    },
    /// `SOURCE_DATE_EPOCH=context`, and the main context has no time of its own.
    UnknownContextEpoch,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnusedBuildArg { name } => {
                write!(f, "build argument {name:?} is not declared by any ARG")
            }
            Warning::UnknownContextEpoch => f.write_str(
                "SOURCE_DATE_EPOCH=context has no effect: only commits of repositories, and URLs \
                 whose server sends Last-Modified, have a time",
            ),
        }
    }
}
