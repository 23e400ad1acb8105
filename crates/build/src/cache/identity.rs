//! What a build is known by from one commit to the next.

use std::path::Path;

use xbuild_cache::TrailId;
use xbuild_model::Platform;

use crate::main_context::{MainContext, MainFile};
use crate::request::{ContextPlace, InputRequest};

/// The build of one platform.
pub(crate) struct BuildIdentity<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) id: TrailId,
    /// Dockerfile, stage and platform, for people.
    pub(crate) name: String,
}

/// Returns the identities of a build, one for each platform.
pub(crate) fn of_build<'a>(input: &InputRequest, main: &'a MainContext) -> Vec<BuildIdentity<'a>> {
    let of_file = |file: &'a MainFile| {
        let dockerfile = in_context(&input.context, file.name());
        let target = input.target.as_deref();
        file.platforms.iter().map(move |platform| {
            let id = TrailId::new(&dockerfile, target, platform, &input.build_args);
            let stage = target.map(|target| format!(" {target}")).unwrap_or_default();
            BuildIdentity { platform, id, name: format!("{dockerfile}{stage} {platform}") }
        })
    };
    main.files.iter().flat_map(of_file).collect()
}

/// Returns the path of a Dockerfile in its context, so that it does not depend on where a machine
/// has the context; the last part of its path if it is elsewhere.
fn in_context(context: &ContextPlace, name: &str) -> String {
    let path = Path::new(name);
    let last = || path.file_name().map_or(name.to_owned(), |n| n.to_string_lossy().into_owned());
    let ContextPlace::Folder(folder) = context else {
        return if path.is_absolute() || name.contains("://") { last() } else { name.to_owned() };
    };
    // A Dockerfile that was found in the context has no path before its name.
    if folder.join(name).exists() && path.is_relative() {
        return name.to_owned();
    }
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match absolute.strip_prefix(folder) {
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) => last(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dockerfile_is_known_by_its_path_in_the_context() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("Dockerfile"), "").unwrap();
        let context = ContextPlace::Folder(folder.path().to_owned());
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        for (name, expected) in [
            ("Dockerfile", "Dockerfile"),
            (&path("Dockerfile"), "Dockerfile"),
            (&path("docker/app.Dockerfile"), "docker/app.Dockerfile"),
            ("/elsewhere/x.Dockerfile", "x.Dockerfile"),
        ] {
            assert_eq!(in_context(&context, name), expected, "{name}");
        }
        assert_eq!(in_context(&ContextPlace::Stdin, "a/b"), "a/b");
    }
}
