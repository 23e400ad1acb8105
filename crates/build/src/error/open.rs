//! Errors of the store, of the configuration and of secrets, before a build begins.

use std::io;
use std::path::PathBuf;

use xbuild_model::{FailureKind, StepFailure};
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints, quoted};

use super::{CacheOpenError, ErrorKind, Fault, RequestError};

/// Why a build, or another use of the store or of registries, cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The request is wrong.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The store has no place: there is no home folder and no option.
    #[error("there is no home folder to keep the store in")]
    NoStore,
    /// Root would make the store in the home folder of another user.
    #[error(
        "root builds, but {} belongs to user {owner}, who could not use a store that root makes \
         there",
        home.display()
    )]
    ForeignHome {
        /// The folder that the store would be made in.
        home: PathBuf,
        /// Its owner.
        owner: u32,
        /// The folder of the store.
        root: PathBuf,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Folders that were moved out of the store cannot be removed.
    #[error(transparent)]
    Leftovers(StepFailure),
    /// A secret or a key cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A shared cache is given wrongly.
    #[error(transparent)]
    Cache(#[from] CacheOpenError),
}

impl Fault for OpenError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request(_) | Self::NoStore | Self::ForeignHome { .. } => ErrorKind::Request,
            Self::Store(error) => ErrorKind::Stage(error.kind()),
            Self::Secret(error) => error.kind(),
            Self::Cache(error) => error.kind(),
            Self::Leftovers(failure) => Fault::kind(failure),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Request(error) => error.hint(),
            Self::NoStore => Some(hints::name_root()),
            Self::ForeignHome { root, .. } => Some(hints::root_of_root(root.display())),
            Self::Store(error) => error.hint(),
            Self::Secret(error) => error.hint(),
            Self::Cache(error) => error.hint(),
            Self::Leftovers(failure) => Fault::hint(failure),
        }
    }
}

/// Why a secret or an agent cannot be given to steps. No message holds a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file of a secret cannot be read.
    #[error("cannot read the secret {id} from {}: {error}", path.display(), id = quoted(.id))]
    File {
        /// The id of the secret.
        id: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// A secret is too large.
    #[error("the secret {id} is larger than {limit} KiB", id = quoted(.id))]
    TooLarge {
        /// The id of the secret.
        id: String,
        /// The largest size, in KiB.
        limit: u64,
    },
    /// The sources of an agent are wrong.
    #[error("invalid --ssh {source_text}: {reason}", source_text = quoted(.source_text))]
    Agent {
        /// The id and the paths, as they were given.
        source_text: String,
        /// The reason.
        reason: String,
        /// Advice for the user.
        hint: Option<Hint>,
    },
    /// The path of a socket cannot be resolved.
    #[error("cannot resolve {}: {error}", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// A program that serves keys is missing.
    #[error("--ssh {id}: the program {program}, which serves keys, is missing")]
    Program {
        /// The id of the agent.
        id: String,
        /// The program.
        program: &'static str,
    },
}

impl Fault for SecretError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Agent { .. } => ErrorKind::Request,
            Self::Program { .. } => ErrorKind::Stage(FailureKind::Environment),
            _ => ErrorKind::Stage(FailureKind::User),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Agent { hint, .. } => hint.clone(),
            Self::Program { .. } => Some(hints::install_ssh()),
            _ => None,
        }
    }
}
