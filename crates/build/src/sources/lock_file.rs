//! The lock file: the versions of everything that a build takes from elsewhere.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xbuild_model::Digest;
use xbuild_wording::quoted;

use super::unique_names;

/// The version of the form of a lock file.
const VERSION: u64 = 1;

/// The versions of sources, by their names. What a Dockerfile itself names by its digest is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u64,
    /// Images: the digest of the manifest or index.
    #[serde(default, deserialize_with = "unique_names::read")]
    pub images: BTreeMap<String, Digest>,
    /// Files of web servers: the digest of the contents.
    #[serde(default, deserialize_with = "unique_names::read")]
    pub files: BTreeMap<String, Digest>,
    /// Repositories, with reference and folder: all digits of the commit.
    #[serde(default, deserialize_with = "unique_names::read")]
    pub commits: BTreeMap<String, String>,
}

/// The part that files of all versions have.
#[derive(Deserialize)]
struct Form {
    version: u64,
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
        // A later version may have other members.
        let form: Form = serde_json::from_str(text).map_err(LockError::Form)?;
        if form.version != VERSION {
            return Err(LockError::Version(form.version));
        }
        let mut lock: Self = serde_json::from_str(text).map_err(LockError::Form)?;
        for commit in lock.commits.values_mut() {
            commit.make_ascii_lowercase();
            let is_hex = commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !(is_hex && matches!(commit.len(), 40 | 64)) {
                return Err(LockError::Commit(commit.clone()));
            }
        }
        Ok(lock)
    }

    /// Returns the text of the file, one source a line, in the order of their names.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).expect("a lock has string keys only");
        format!("{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_edited_by_hand_counts_or_is_refused() {
        let digest = Digest::of(b"a");
        let commit = "0123456789abcdef0123456789ABCDEF01234567";
        let good = format!(
            "{{\r\n \"commits\": {{\"https://r.example/a.git#main\": \"{commit}\"}},\r\n \
             \"images\": {{\"a\": \"{digest}\"}}, \"version\": 1}}"
        );
        let lock = Lock::read(&good).unwrap();
        assert_eq!(lock.images["a"], digest);
        assert_eq!(lock.commits["https://r.example/a.git#main"], commit.to_lowercase());
        let twice = format!(r#"{{"version":1,"images":{{"a":"{digest}","a":"{digest}"}}}}"#);
        for (text, words) in [
            ("", "not a lock file"),
            ("<<<<<<< ours\n{}", "line 1"),
            (r#"{"images":{}}"#, "version"),
            (r#"{"version":2,"packages":[]}"#, "version 2"),
            (r#"{"version":1,"packages":[]}"#, "packages"),
            (r#"{"version":1,"images":{"a":"latest"}}"#, "latest"),
            (r#"{"version":1,"commits":{"a":"main"}}"#, "main"),
            (r#"{"version":1,"images":[]}"#, "an object with names"),
            (r#"{"version":1,"images":{},"images":{}}"#, "duplicate"),
            (twice.as_str(), "\"a\" stands twice"),
        ] {
            let error = Lock::read(text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
