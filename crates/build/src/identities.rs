//! Identities of contexts and secrets, which tell those of one build from those of another one that have
//! the same names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use xbuild_model::Digest;
use xbuild_solve::Identities;

use crate::secrets::GivenSecrets;

/// The identities of the contexts and secrets of one build.
#[derive(Debug)]
pub(crate) struct BuildIdentities {
    /// By the names of contexts.
    pub(crate) contexts: BTreeMap<String, Digest>,
    pub(crate) secrets: Arc<GivenSecrets>,
}

impl Identities for BuildIdentities {
    fn context(&self, name: &str) -> Digest {
        self.contexts.get(name).cloned().unwrap_or_else(|| Digest::of(b"no context"))
    }

    fn secret(&self, id: &str) -> Option<Digest> {
        self.secrets.identity_of_secret(id)
    }

    fn agent(&self, id: &str) -> Option<Digest> {
        self.secrets.identity_of_agent(id)
    }
}

/// Returns the identity of a context: its folder and its ignore file.
pub(crate) fn of_context(folder: &Path, ignore: Option<&[u8]>) -> Digest {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let ignore = ignore.map(|text| Digest::of(text).to_string());
    Digest::of(format!("{folder:?} {ignore:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_a_folder_with_an_ignore_file() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        for path in [&a, &b] {
            std::fs::create_dir(path).unwrap();
        }
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        let of_a = of_context(&a, None);
        assert_eq!(of_context(&folder.path().join("link"), None), of_a);
        for other in [of_context(&b, None), of_context(&a, Some(b"")), of_context(&a, Some(b"x"))] {
            assert_ne!(other, of_a);
        }
    }
}
