//! Warnings that are not about the Dockerfile.

use std::fmt;

use xbuild_dockerfile::Span;
use xbuild_wording::quoted;

/// An option without effect. [`crate::lint()`] reports unwise instructions of the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// No ARG declares a build argument.
    UnusedBuildArg {
        /// Its name.
        name: String,
    },
    /// No stage has a name of `--no-cache-filter`.
    UnknownNoCacheStage {
        /// The name.
        name: String,
    },
    /// `SOURCE_DATE_EPOCH` names a place without a time of its own.
    UnknownEpoch {
        /// The name.
        name: String,
    },
    /// A mount of a RUN has an option that means nothing for its type.
    MountOption {
        /// The option.
        option: String,
        /// The type.
        kind: String,
        /// The place of the RUN.
        span: Span,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::UnusedBuildArg { name } => {
                write!(f, "build argument {name} is not declared by any ARG", name = quoted(&name))
            }
            Warning::UnknownNoCacheStage { name } => {
                write!(f, "--no-cache-filter {name} has no effect: no stage has that name")
            }
            Warning::UnknownEpoch { name } => write!(
                f,
                "SOURCE_DATE_EPOCH={name} has no effect: only commits of repositories, and URLs \
                 whose server sends Last-Modified, have a time"
            ),
            Warning::MountOption { option, kind, span } => {
                write!(f, "{span}: the option {option} of a mount of type {kind} has no effect")
            }
        }
    }
}
