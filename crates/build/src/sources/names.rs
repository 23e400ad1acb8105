//! The names of files and repositories.

use xbuild_model::remote::{RemoteSource, without_user};

/// Returns whether a source names its version itself.
pub(super) fn is_pinned(source: &RemoteSource) -> bool {
    let is_object = |name: &String| {
        matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match source {
        RemoteSource::Http(http) => http.checksum.is_some(),
        RemoteSource::Git(git) => {
            [&git.reference, &git.checksum].into_iter().flatten().any(is_object)
        }
    }
}

/// Returns the name of a source in a lock: its address with reference and folder, without user.
pub(super) fn remote_key(source: &RemoteSource) -> String {
    match source {
        RemoteSource::Http(http) => http.url.clone(),
        RemoteSource::Git(git) => {
            let folder = git.subdir.as_ref().map(|folder| format!(":{folder}")).unwrap_or_default();
            let reference = git.reference.as_deref().unwrap_or_default();
            let fragment = format!("{reference}{folder}");
            let mark = if fragment.is_empty() { "" } else { "#" };
            format!("{}{mark}{fragment}", without_user(&git.remote))
        }
    }
}
