//! The lock file: the versions of everything that a build takes from elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xbuild_model::Digest;
use xbuild_wording::quoted;

/// The version of the form of a lock file.
const VERSION: u64 = 1;

/// The versions of sources, by their names. What a Dockerfile itself names by its digest is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u64,
    /// Images: the digest of the manifest or index.
    #[serde(default)]
    pub images: BTreeMap<String, Digest>,
    /// Files of web servers: the digest of the contents.
    #[serde(default)]
    pub files: BTreeMap<String, Digest>,
    /// Repositories, with reference and folder: all digits of the commit.
    #[serde(default)]
    pub commits: BTreeMap<String, String>,
}

/// Why a text is not a lock file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It is no JSON of that form.
    #[error("not a lock file: {0}")]
    Form(serde_json::Error),
    /// A later version of xbuild wrote it.
    #[error("the lock file has version {0}, and this xbuild reads version {VERSION}")]
    Version(u64),
    /// A commit has something else than digits.
    #[error("{} is not a commit", quoted(.0))]
    Commit(String),
}

impl Default for Lock {
    fn default() -> Self {
        let (images, files, commits) = Default::default();
        Self { version: VERSION, images, files, commits }
    }
}

impl Lock {
    /// Reads a lock file.
    ///
    /// ```
    /// use xbuild_build::sources::Lock;
    ///
    /// let lock = Lock::default();
    /// assert_eq!(Lock::read(&lock.to_text())?, lock);
    /// # Ok::<(), xbuild_build::sources::LockError>(())
    /// ```
    pub fn read(text: &str) -> Result<Self, LockError> {
        let lock: Self = serde_json::from_str(text).map_err(LockError::Form)?;
        let is_commit = |commit: &&String| {
            matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        match lock.commits.values().find(|commit| !is_commit(commit)) {
            Some(other) => Err(LockError::Commit(other.clone())),
            None if lock.version != VERSION => Err(LockError::Version(lock.version)),
            None => Ok(lock),
        }
    }

    /// Returns the text of the file, one source a line, in the order of their names.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a lock has string keys only");
        format!("{text}\n")
    }
}
