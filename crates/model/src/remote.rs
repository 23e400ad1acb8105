//! Files that are somewhere else: those that ADD takes from a URL or a git repository, and build
//! contexts of that kind.
//!
//! Here they are only read from text. What a URL says about who asks (user and password) is kept
//! apart from what it names: the former is in no key, no message and no image.
//!
//! **Source** — Dockerfile reference § ADD; `docker buildx build` reference § URL fragments, § URL
//! queries; `git-check-ref-format(1)`.

mod git;
#[cfg(test)]
mod tests;
mod url;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// A file or a folder of files that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RemoteSource {
    /// One file from a web server.
    Http(HttpSource),
    /// The files of a commit.
    Git(GitSource),
}

/// A file on a web server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HttpSource {
    /// Where: `http` or `https`, without user information and fragment.
    pub url: String,
    /// Who asks.
    #[serde(skip)]
    pub user: Option<UserInfo>,
    /// The name that the file gets: one part of a path, from the URL.
    pub name: String,
    /// What its contents must be.
    pub checksum: Option<Digest>,
}

/// A commit of a git repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GitSource {
    /// What `git fetch` takes: a URL (`https`, `http`, `ssh`, `git`) or `USER@HOST:PATH`, without
    /// password, query and fragment. Does not begin with `-`.
    pub remote: String,
    /// Who asks a web server.
    #[serde(skip)]
    pub user: Option<UserInfo>,
    /// Branch, tag, full name of a reference, or commit; the remote's default branch if `None`.
    /// A valid name of a reference, which does not begin with `-`.
    pub reference: Option<String>,
    /// A folder of the commit to take instead of all: parts joined by `/`, none of them `..`.
    pub subdir: Option<String>,
    /// What the commit must begin with: lower-case hexadecimal digits.
    pub checksum: Option<String>,
    /// Whether the repository itself (`.git`) is part of the files.
    pub keep_git_dir: Option<bool>,
    /// Whether submodules are fetched as well.
    pub submodules: Option<bool>,
}

/// User name and password of a URL. Never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UserInfo {
    /// The name, decoded.
    pub name: String,
    /// The password, decoded; may be empty.
    pub password: String,
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserInfo(..)")
    }
}

/// Who names a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// An ADD.
    Add,
    /// The command line, for a build context: `github.com/...` is a repository there.
    Context,
}

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

impl RemoteSource {
    /// Reads a source; `None` for a path of this machine.
    ///
    /// ```
    /// use xbuild_model::remote::{Asker, RemoteSource};
    ///
    /// let text = "https://host.example/repository.git#v1:docs";
    /// let Some(RemoteSource::Git(git)) = RemoteSource::parse(text, Asker::Add)? else {
    ///     panic!("it is a repository")
    /// };
    /// assert_eq!(git.reference.as_deref(), Some("v1"));
    /// assert_eq!(RemoteSource::parse("folder/file", Asker::Add)?, None);
    /// # Ok::<(), xbuild_model::remote::RemoteError>(())
    /// ```
    pub fn parse(text: &str, asker: Asker) -> Result<Option<Self>, RemoteError> {
        let full;
        let text = match asker {
            Asker::Context if text.starts_with("github.com/") => {
                full = format!("https://{text}");
                return git::parse_url(&url::split(&full)?).map(Self::Git).map(Some);
            }
            _ => text,
        };
        let Some((scheme, _)) = text.split_once("://").filter(|(s, _)| is_scheme(s)) else {
            return Ok(git::parse_scp(text)?.map(Self::Git));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => {
                let parts = url::split(text)?;
                match parts.path.ends_with(".git") {
                    true => git::parse_url(&parts).map(Self::Git).map(Some),
                    false => url::http(&parts).map(Self::Http).map(Some),
                }
            }
            "ssh" | "git" => git::parse_url(&url::split(text)?).map(Self::Git).map(Some),
            other => Err(RemoteError::Scheme { scheme: other.to_owned() }),
        }
    }
}

impl GitSource {
    /// Checks that `checksum` is one and adds it.
    ///
    /// **Errors** — [`RemoteError::Checksum`]; [`RemoteError::Conflict`] if the URL has another.
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, RemoteError> {
        let checksum = git::checksum(checksum)?;
        match &self.checksum {
            Some(own) if *own != checksum => Err(RemoteError::Conflict {
                what: "checksum",
                first: own.clone(),
                second: checksum,
            }),
            _ => {
                self.checksum = Some(checksum);
                Ok(self)
            }
        }
    }

    /// Adds what an option says about `.git`.
    ///
    /// **Errors** — [`RemoteError::Conflict`] if the URL says the opposite.
    pub fn with_git_dir(mut self, keep: bool) -> Result<Self, RemoteError> {
        match self.keep_git_dir {
            Some(own) if own != keep => Err(RemoteError::Conflict {
                what: "keep-git-dir",
                first: own.to_string(),
                second: keep.to_string(),
            }),
            _ => {
                self.keep_git_dir = Some(keep);
                Ok(self)
            }
        }
    }
}

/// Returns `text` with the user information of a URL taken out, if it has any: what may be shown.
/// The user of SSH is no secret and stays.
pub fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((user, _)) if scheme.eq_ignore_ascii_case("ssh") && !user.contains(':') => {
            text.to_owned()
        }
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => text.to_owned(),
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
