//! Texts that are no sources.

/// Why a text is neither a path nor a usable source. No message holds user information.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// The protocol is not one of those that are fetched.
    #[error("{scheme}:// is not supported: only http, https, ssh and git are")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// A part of the URL is malformed or could be misread.
    #[error("invalid URL {url:?}: {reason}")]
    Url {
        /// The URL without user information, query and fragment.
        url: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The query of a git URL says something that is not understood.
    #[error("invalid query of {url:?}: {name:?} {reason}")]
    Query {
        /// The URL without user information, query and fragment.
        url: String,
        /// The key.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// What names a branch, tag or commit cannot be such a name.
    #[error("invalid git reference {name:?}")]
    Reference {
        /// The name.
        name: String,
    },
    /// A folder in a repository that is not in it.
    #[error("invalid folder {path:?} of a git repository: it must stay inside")]
    Subdir {
        /// The path.
        path: String,
    },
    /// A checksum that is none.
    #[error("invalid commit checksum {checksum:?}: expected hexadecimal digits")]
    Checksum {
        /// The text.
        checksum: String,
    },
    /// Two places say different things.
    #[error("conflicting {what}: {first:?} and {second:?}")]
    Conflict {
        /// What they say it of.
        what: &'static str,
        /// What is said first.
        first: String,
        /// What is said then.
        second: String,
    },
}
