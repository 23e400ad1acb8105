//! Errors in RUN `--mount`.

use thiserror::Error;
use xbuild_wording::{Hint, hints, quoted};

/// The kind of an error in a mount. Text from the file is quoted and escaped.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the fields are what the message names")]
pub enum MountError {
    /// The type is unknown.
    #[error(
        "unknown mount type {name}: expected bind, cache, tmpfs, secret or ssh",
        name = quoted(.name)
    )]
    Type { name: String, suggestion: Option<&'static str> },
    /// The option is unknown.
    #[error("unknown option {name} of --mount", name = quoted(.name))]
    Option { name: String, suggestion: Option<&'static str> },
    /// An option stands without a value.
    #[error("the option {name} of --mount needs a value", name = quoted(.name))]
    NoValue { name: String },
    /// An option has a value that it cannot have.
    #[error(
        "invalid value {value} of the mount option {name}: expected {expected}",
        value = quoted(.value)
    )]
    Value { name: &'static str, value: String, expected: &'static str },
    /// An option has no meaning for this type.
    #[error("a mount of type {kind} cannot have the option {name}")]
    NotFor { kind: &'static str, name: &'static str },
    /// Nothing names the secret.
    #[error("a secret mount needs an id, a source or a target")]
    NamelessSecret,
    /// The secret is named twice, by two options.
    #[error("a secret mount cannot have both id and source")]
    IdAndSource,
    /// The mount would hide what every command needs.
    #[error("invalid mount target {written}: it is {place}", written = quoted(.written))]
    Target { written: String, place: Covered },
    /// A cache mount names a part of a folder that begins empty.
    #[error(
        "the source {source_path} of a cache mount needs from=: a new cache folder is empty",
        source_path = quoted(.source_path)
    )]
    EmptySeed { source_path: String },
    /// A tmpfs mount names a part of what begins empty.
    #[error("the source {source_path} of a tmpfs mount: a tmpfs is empty", source_path = quoted(.source_path))]
    EmptyTmpfs { source_path: String },
}

impl MountError {
    /// Returns advice on how to mend it, if any is known.
    pub(crate) fn hint(&self) -> Option<Hint> {
        match self {
            MountError::Type { suggestion: Some(name), .. }
            | MountError::Option { suggestion: Some(name), .. } => Some(hints::did_you_mean(name)),
            MountError::Target { place: Covered::Root | Covered::Devices, .. } => {
                Some(hints::folder_below())
            }
            _ => None,
        }
    }
}

/// A place that every command needs as it is, so that nothing can be mounted there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Covered {
    /// The root folder.
    #[error("the root folder")]
    Root,
    /// `/dev` itself.
    #[error("/dev, and commands need the devices there")]
    Devices,
    /// `/proc`, `/sys`, or a place below them.
    #[error("in /proc or /sys, which show the kernel's state")]
    Kernel,
}
