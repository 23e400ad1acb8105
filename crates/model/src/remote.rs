//! Files that are somewhere else: those that ADD takes from a URL or a git repository, and build
//! contexts of that kind.
//!
//! Sources are read from text here, and fetched elsewhere. User and password of a URL are kept apart
//! from the address: they are in no key, no message and no image.
//!
//! **Source** — Dockerfile reference § ADD; `docker buildx build` reference § URL fragments, § URL
//! queries; `git-check-ref-format(1)`.

mod error;
mod git;
#[cfg(test)]
mod tests;
mod url;

use serde::{Deserialize, Serialize};

pub use error::RemoteError;
pub use git::GitSource;
pub use url::{HttpSource, UserInfo, without_user};

/// A file or a folder of files that has to be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RemoteSource {
    /// One file from a web server.
    Http(HttpSource),
    /// The files of a commit.
    Git(GitSource),
}

/// The place where a source is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// An ADD.
    Add,
    /// The command line, for a build context: `github.com/...` is a repository there.
    Context,
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

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
