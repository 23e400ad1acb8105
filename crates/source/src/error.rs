//! What can go wrong with remote sources.
//!
//! No message holds user information or the query of a URL; what git wrote is cut and printable.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_registry::DownloadError;
use xbuild_store::StoreError;

/// Why a remote source could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// A web server did not give the file.
    #[error("cannot download {}", without_query(url))]
    Download {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        source: DownloadError,
    },
    /// A server says that a file is unchanged, of which nothing is known.
    #[error("{} says that nothing has changed, but nobody asked", without_query(url))]
    NotModified {
        /// The URL.
        url: String,
    },
    /// The file is another one.
    #[error("digest mismatch for {}: expected {expected}, got {actual}", without_query(url))]
    Checksum {
        /// The URL.
        url: String,
        /// What it shall be.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// A file cannot have that name.
    #[error("{name:?} cannot be the name of a file")]
    Name {
        /// The name.
        name: String,
    },
    /// A secret cannot be read.
    #[error("cannot read a secret for a remote source")]
    Secret {
        /// Why.
        #[source]
        source: StepFailure,
    },
    /// A secret is empty or holds line ends.
    #[error("the secret {id:?} is no text of one line")]
    SecretText {
        /// Its name.
        id: String,
    },
    /// There is no git.
    #[error("the program git is needed for {remote} and is not in PATH")]
    NoGit {
        /// The repository.
        remote: String,
    },
    /// Git cannot be run.
    #[error("cannot run git {action}")]
    Run {
        /// Its subcommand.
        action: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Git failed.
    #[error("git {action} of {remote} failed ({status}){said}")]
    Git {
        /// Its subcommand.
        action: &'static str,
        /// The repository.
        remote: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said, beginning with a colon if there is anything.
        said: String,
    },
    /// Git said something that is not understood.
    #[error("git {action} of {remote} gave an answer that makes no sense")]
    Answer {
        /// Its subcommand.
        action: &'static str,
        /// The repository.
        remote: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{remote} has no branch, tag or commit {name:?}")]
    NoReference {
        /// The repository.
        remote: String,
        /// What was asked for.
        name: String,
    },
    /// The commit is another one.
    #[error("commit mismatch for {remote}: expected {expected}, got {actual}")]
    Commit {
        /// The repository.
        remote: String,
        /// What it shall begin with.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The folder in the repository is not there, or a part of it is no real folder.
    #[error("{remote} has no folder {path:?} at {name}")]
    NoFolder {
        /// The repository.
        remote: String,
        /// The folder.
        path: String,
        /// The reference, as it was asked for.
        name: String,
    },
    /// A repository of this machine.
    #[error("repositories of this machine are not fetched: {remote}")]
    LocalRepository {
        /// The repository.
        remote: String,
    },
    /// A file operation in the store failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FetchError> for StepFailure {
    fn from(error: FetchError) -> Self {
        let mut hint = None;
        let kind = match &error {
            FetchError::Download { source: DownloadError::Request { .. }, .. }
            | FetchError::NotModified { .. }
            | FetchError::Answer { .. } => FailureKind::Remote,
            FetchError::Git { .. } => {
                hint = Some(
                    "a private repository needs --secret id=GIT_AUTH_TOKEN,.. for https, or a \
                     running SSH agent and a known host for ssh",
                );
                FailureKind::Remote
            }
            FetchError::NoGit { .. } | FetchError::Run { .. } => {
                hint = Some("install git");
                FailureKind::Environment
            }
            FetchError::NoReference { name, .. } => {
                if name.len() < 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    hint = Some("a commit is named by all of its digits");
                }
                FailureKind::User
            }
            FetchError::Checksum { .. }
            | FetchError::Name { .. }
            | FetchError::Secret { .. }
            | FetchError::SecretText { .. }
            | FetchError::Commit { .. }
            | FetchError::NoFolder { .. }
            | FetchError::LocalRepository { .. } => FailureKind::User,
            FetchError::Download { .. } | FetchError::Io { .. } | FetchError::Store(_) => {
                FailureKind::Internal
            }
        };
        let failure = Self::new(kind, error);
        hint.into_iter().fold(failure, StepFailure::with_hint)
    }
}

/// Returns a function that makes an error of what an operation on `path` returned.
pub(crate) fn io(
    action: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.as_ref().to_owned();
    move |source| FetchError::Io { action, path, source }
}

/// A query may hold a signature.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}
