//! Credentials that cannot be read or fetched.

use std::io;

use xbuild_wording::quoted;

/// Why credentials could not be read or fetched. No variant holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The configuration file is not JSON of the expected shape.
    #[error("malformed at line {line}, column {column}")]
    Malformed {
        /// Line, 1-based.
        line: usize,
        /// Column, 1-based.
        column: usize,
    },
    /// A member has another type than it should have.
    #[error("{name} is not of the expected form", name = quoted(.name))]
    Member {
        /// The member, or the key of the entry.
        name: String,
    },
    /// An `auth` member is not base64 of `user:password`.
    #[error(
        "the `auth` member for {registry} is not base64 of user:password",
        registry = quoted(.registry)
    )]
    Auth {
        /// The key of the entry.
        registry: String,
    },
    /// The name of a helper has characters other than `a-z`, `0-9`, `-`, `_` and `.`.
    #[error("invalid name of a credential helper: {name}", name = quoted(.name))]
    HelperName {
        /// The name.
        name: String,
    },
    /// The helper is in no folder of PATH.
    #[error("the credential helper {program} is not installed")]
    HelperMissing {
        /// The program.
        program: String,
    },
    /// The helper could not be run.
    #[error("the credential helper {program} cannot be run")]
    HelperRun {
        /// The program.
        program: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The helper failed, or its answer cannot be read.
    #[error("the credential helper {program} gave no credentials: {reason}")]
    HelperAnswer {
        /// The program.
        program: String,
        /// The message of the helper, made printable, or the fault of its answer.
        reason: String,
    },
    /// The helper took too long.
    #[error("the credential helper {program} has not answered in {seconds} s")]
    HelperSlow {
        /// The program.
        program: String,
        /// The time that it had.
        seconds: u64,
    },
}
