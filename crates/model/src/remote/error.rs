//! Texts that are not sources.

/// Why a text is neither a path nor a usable source. No message holds user information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The protocol is not one of those that are fetched.
    #[error("{scheme}:// is not supported: only http, https, ssh and git are")]
    Scheme {
        /// The text before `://`.
        scheme: String,
    },
    /// A part of the URL is malformed or could be misread.
    #[error("invalid URL {url:?}: {reason}")]
    Url {
        /// The URL without user information, query and fragment.
        url: String,
        /// The fault.
        reason: &'static str,
    },
    /// The query of a git URL has an unknown key, or a value that makes no sense.
    #[error("invalid query of {url:?}: {name:?} {reason}")]
    Query {
        /// The URL without user information, query and fragment.
        url: String,
        /// The key.
        name: String,
        /// The fault of the key or its value.
        reason: &'static str,
    },
    /// The name of a branch, tag or commit is invalid.
    #[error("invalid git reference {name:?}")]
    Reference {
        /// The name.
        name: String,
    },
    /// The path of a folder leads out of its repository.
    #[error("invalid folder {path:?} of a git repository: it must stay inside")]
    Subdir {
        /// The path.
        path: String,
    },
    /// A checksum is invalid.
    #[error("invalid commit checksum {checksum:?}: expected hexadecimal digits")]
    Checksum {
        /// The text.
        checksum: String,
    },
    /// Two places say different things.
    #[error("conflicting {what}: {first:?} and {second:?}")]
    Conflict {
        /// The subject.
        what: &'static str,
        /// The first value.
        first: String,
        /// The second value.
        second: String,
    },
}
