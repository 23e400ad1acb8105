//! The identity of a build from one time to the next: its Dockerfile and its main context.

use std::path::{Path, PathBuf};

use xbuild_model::Digest;
use xbuild_model::remote::RemoteSource;

use crate::request::ContextPlace;

/// Returns a digest of the place of the main context and of the Dockerfile's `name`; `is_given`
/// tells whether the user named the Dockerfile.
///
/// The user and the version in the URL of a remote context do not count.
pub fn digest(context: &ContextPlace, is_given: bool, name: &str) -> Digest {
    let context = match context {
        ContextPlace::Folder(path) | ContextPlace::Archive(path) => absolute(path),
        ContextPlace::Stdin => PathBuf::from("-"),
        ContextPlace::Remote(RemoteSource::Http(http)) => PathBuf::from(&http.url),
        ContextPlace::Remote(RemoteSource::Git(git)) => {
            PathBuf::from(format!("{}#:{}", git.remote, git.subdir.as_deref().unwrap_or_default()))
        }
    };
    let is_path = is_given && name != "-" && !name.contains("://");
    let file = if is_path { absolute(Path::new(name)) } else { PathBuf::from(name) };
    // A Dockerfile that was found is the same as one that was named.
    let file = file.strip_prefix(&context).unwrap_or(&file);
    Digest::of(format!("{context:?}\n{file:?}").as_bytes())
}

/// Returns the absolute path; the path itself if the current folder is gone.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use xbuild_model::remote::Asker;

    #[test]
    fn a_build_is_known_by_where_its_files_are() {
        let folder = |path: &str| ContextPlace::Folder(path.into());
        let found = digest(&folder("/src"), false, "Dockerfile");
        assert_eq!(digest(&folder("/src"), true, "/src/Dockerfile"), found);
        for (context, is_given, name) in [
            ("/src", true, "/src/other"),
            ("/src", true, "/Dockerfile"),
            ("/other", false, "Dockerfile"),
            ("/src", true, "-"),
        ] {
            assert_ne!(digest(&folder(context), is_given, name), found, "{context} {name}");
        }
        let remote = |url: &str| {
            let source = RemoteSource::parse(url, Asker::Context).unwrap().unwrap();
            digest(&ContextPlace::Remote(source), false, "Dockerfile")
        };
        let main = remote("https://x.example/r.git#main:dir");
        assert_eq!(remote("https://user:password@x.example/r.git#dev:dir"), main);
        assert_ne!(remote("https://x.example/r.git#main"), main);
        assert_ne!(remote("https://x.example/other.git#main:dir"), main);
    }
}
