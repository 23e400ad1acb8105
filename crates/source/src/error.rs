//! Errors of remote sources.
//!
//! No message holds the user information or query of a URL; the output of git is cut and made
//! printable.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use xbuild_model::{Digest, FailureKind, StepFailure};
use xbuild_registry::DownloadError;
use xbuild_store::StoreError;
use xbuild_wording::{hints, quoted};

/// Why a remote source could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The download of a file failed.
    #[error("cannot download {}", without_query(url))]
    Download {
        /// The URL.
        url: String,
        /// The cause.
        #[source]
        source: DownloadError,
    },
    /// A server answered that a file is unchanged, although the request named no version.
    #[error("{} answered 304 to an unconditional request", without_query(url))]
    NotModified {
        /// The URL.
        url: String,
    },
    /// The file has another digest.
    #[error("digest mismatch for {}: expected {expected}, got {actual}", without_query(url))]
    Checksum {
        /// The URL.
        url: String,
        /// The requested digest.
        expected: Digest,
        /// The digest of the file.
        actual: Digest,
    },
    /// A file cannot have that name.
    #[error("{name} cannot be the name of a file", name = quoted(.name))]
    Name {
        /// The name.
        name: String,
    },
    /// A secret cannot be read.
    #[error("cannot read a secret for a remote source")]
    Secret {
        /// The cause.
        #[source]
        source: StepFailure,
    },
    /// A secret is empty, or holds line ends.
    #[error("the secret {id} is not one line of text", id = quoted(.id))]
    SecretText {
        /// Its name.
        id: String,
    },
    /// Git is not installed.
    #[error("the program git, which fetches {remote}, is not in PATH")]
    NoGit {
        /// The repository.
        remote: String,
    },
    /// Git cannot be run.
    #[error("cannot run git {action}")]
    Run {
        /// Its subcommand.
        action: &'static str,
        /// The cause.
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
        /// Its exit status.
        status: ExitStatus,
        /// The end of its error output, after a colon; may be empty.
        said: String,
    },
    /// The remote sent next to nothing for so long that git was ended.
    #[error("git {action} of {remote} was ended: hardly a byte came in {seconds} s")]
    Silent {
        /// Its subcommand.
        action: &'static str,
        /// The repository.
        remote: String,
        /// The time, in seconds.
        seconds: u64,
    },
    /// The output of git cannot be read.
    #[error("cannot read the output of git {action} of {remote}")]
    Answer {
        /// Its subcommand.
        action: &'static str,
        /// The repository.
        remote: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{remote} has no branch, tag or commit {name}", name = quoted(.name))]
    NoReference {
        /// The repository.
        remote: String,
        /// The requested name.
        name: String,
    },
    /// The commit has another id.
    #[error("commit mismatch for {remote}: expected {expected}, got {actual}")]
    Commit {
        /// The repository.
        remote: String,
        /// The requested beginning of the id.
        expected: String,
        /// The id of the commit.
        actual: String,
    },
    /// The repository does not have the folder, or a component of its path is not a folder.
    #[error("{remote} has no folder {path} at {name}", path = quoted(.path))]
    NoFolder {
        /// The repository.
        remote: String,
        /// The folder.
        path: String,
        /// The reference, as requested.
        name: String,
    },
    /// The repository is on this machine.
    #[error("repositories on this machine are not fetched: {remote}")]
    LocalRepository {
        /// The repository.
        remote: String,
    },
    /// A file operation in the store failed.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The operation, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The caller's gate refuses the source.
    #[error(transparent)]
    Refused(StepFailure),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FetchError> for StepFailure {
    fn from(error: FetchError) -> Self {
        let error = match error {
            FetchError::Refused(failure) => return failure,
            error => error,
        };
        let mut hint = None;
        let kind = match &error {
            FetchError::Download { source: source @ DownloadError::Request { .. }, .. } => {
                hint = source.hint();
                FailureKind::Remote
            }
            FetchError::NotModified { .. }
            | FetchError::Answer { .. }
            | FetchError::Silent { .. } => FailureKind::Remote,
            FetchError::Git { .. } => {
                hint = Some(hints::git_logins());
                FailureKind::Remote
            }
            FetchError::NoGit { .. } | FetchError::Run { .. } => {
                hint = Some(hints::install_git());
                FailureKind::Environment
            }
            FetchError::NoReference { name, .. } => {
                if name.len() < 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    hint = Some(hints::whole_commit());
                }
                FailureKind::User
            }
            FetchError::Checksum { .. }
            | FetchError::Name { .. }
            | FetchError::Secret { .. }
            | FetchError::SecretText { .. }
            | FetchError::Commit { .. }
            | FetchError::NoFolder { .. }
            | FetchError::LocalRepository { .. }
            | FetchError::Refused(_) => FailureKind::User,
            FetchError::Download { .. } | FetchError::Io { .. } | FetchError::Store(_) => {
                FailureKind::Internal
            }
        };
        let failure = Self::new(kind, error);
        hint.into_iter().fold(failure, StepFailure::with_hint)
    }
}

/// Returns a function that converts the error of an operation on `path`.
pub(crate) fn io(
    action: &'static str,
    path: impl AsRef<Path>,
) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.as_ref().to_owned();
    move |source| FetchError::Io { action, path, source }
}

/// Returns a URL without its query, which may hold a signature.
fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}
