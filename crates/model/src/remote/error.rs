//! Texts that are not sources.

use xbuild_wording::quoted;

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
    #[error("invalid URL {url}: {reason}", url = quoted(.url))]
    Url {
        /// The URL without user information, query and fragment.
        url: String,
        /// The fault.
        reason: &'static str,
    },
    /// The query of a git URL has an unknown key, or a value that makes no sense.
    #[error("invalid query of {url}: {name} {reason}", url = quoted(.url), name = quoted(.name))]
    Query {
        /// The URL without user information, query and fragment.
        url: String,
        /// The key.
        name: String,
        /// The fault of the key or its value.
        reason: &'static str,
    },
    /// The name of a branch, tag or commit is invalid.
    #[error("invalid git reference {name}", name = quoted(.name))]
    Reference {
        /// The name.
        name: String,
    },
    /// The path of a folder leads out of its repository.
    #[error("invalid folder {path} of a git repository: it must stay inside", path = quoted(.path))]
    Subdir {
        /// The path.
        path: String,
    },
    /// A checksum is invalid.
    #[error(
        "invalid commit checksum {checksum}: expected hexadecimal digits",
        checksum = quoted(.checksum)
    )]
    Checksum {
        /// The text.
        checksum: String,
    },
    /// Two places say different things.
    #[error(
        "conflicting {what}: {first} and {second}",
        first = quoted(.first), second = quoted(.second)
    )]
    Conflict {
        /// The subject.
        what: &'static str,
        /// The first value.
        first: String,
        /// The second value.
        second: String,
    },
}
