//! The Dockerfile and the contexts of a build.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer, ser};
use xbuild_model::Platform;
use xbuild_model::remote::{RemoteSource, without_user};

/// The Dockerfile, its contexts and arguments: as much as a check needs, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputRequest {
    /// The main context.
    pub context: ContextPlace,
    /// The Dockerfile of the platforms that have none of their own.
    pub dockerfile: DockerfilePlace,
    /// The Dockerfiles of single platforms, each platform once.
    pub own_dockerfiles: Vec<OwnDockerfile>,
    /// Named contexts.
    pub contexts: BTreeMap<String, NamedPlace>,
    /// Build arguments: name and value; the last of a name counts.
    pub build_args: Vec<(String, String)>,
    /// The platforms to build for, in the order of the index; at least one.
    pub platforms: Vec<Platform>,
    /// Whether nobody asked for these platforms: the image then has the platform of its base image.
    #[serde(default)]
    pub platform_is_implied: bool,
    /// The stage to build; `None` for the last one.
    pub target: Option<String>,
    /// Which images of the store are used.
    #[serde(default)]
    pub pull: Pull,
}

impl InputRequest {
    /// Returns whether the result has an index even if there is a single platform.
    ///
    /// **Source** — Dockerfile reference § BuildKit built-in build args: `BUILDKIT_MULTI_PLATFORM`.
    pub(crate) fn has_index(&self) -> bool {
        let last = self.build_args.iter().rfind(|(name, _)| name == "BUILDKIT_MULTI_PLATFORM");
        let is_true = |value: &str| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True");
        last.is_some_and(|(_, value)| is_true(value))
    }
}

/// When a registry is asked what the name of an image stands for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pull {
    /// Unless the name is one that a build here, a load or the user gave.
    #[default]
    Default,
    /// In any case.
    Always,
    /// If the store does not know the name for the platform.
    Missing,
    /// Never; nothing else of an image is fetched either.
    Never,
}

/// The main build context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContextPlace {
    /// A folder; absolute.
    Folder(PathBuf),
    /// A tar archive.
    Archive(PathBuf),
    /// A tar archive or a Dockerfile from standard input.
    Stdin,
    /// A repository, or a file of a web server: a tar archive or a Dockerfile.
    Remote(#[serde(serialize_with = "without_password")] RemoteSource),
}

/// Where the Dockerfile is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DockerfilePlace {
    /// In the main context, under one of the usual names.
    InContext,
    /// Standard input.
    Stdin,
    /// A file of a web server.
    Url(#[serde(serialize_with = "without_user_info")] String),
    /// A file on this machine. A relative path is looked up in the main context if that was fetched
    /// or unpacked.
    File(PathBuf),
}

/// The Dockerfile of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnDockerfile {
    /// The platform.
    pub platform: Platform,
    /// Where the Dockerfile is.
    pub place: DockerfilePlace,
    /// Whether the platform gets the Dockerfile of the others if there is no file there.
    pub is_optional: bool,
}

/// A named context.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamedPlace {
    /// An image: `docker-image://REF` or `oci-layout://DIR[:TAG][@DIGEST]`.
    Image(String),
    /// A folder; absolute.
    Folder(PathBuf),
    /// A repository or a file of a web server.
    Remote(#[serde(serialize_with = "without_password")] RemoteSource),
}

/// Writes a source, or fails if it has a user and password, which serialising would drop.
fn without_password<S: Serializer>(source: &RemoteSource, to: S) -> Result<S::Ok, S::Error> {
    let user = match source {
        RemoteSource::Http(http) => &http.user,
        RemoteSource::Git(git) => &git.user,
    };
    match user {
        Some(_) => Err(ser::Error::custom(HAS_USER)),
        None => source.serialize(to),
    }
}

fn without_user_info<S: Serializer>(url: &str, to: S) -> Result<S::Ok, S::Error> {
    match without_user(url) == url {
        true => to.serialize_str(url),
        false => Err(ser::Error::custom(HAS_USER)),
    }
}

const HAS_USER: &str = "a URL with a user or a password cannot be part of a request that is sent: \
                        give the password as a secret";

#[cfg(test)]
mod tests {
    use super::*;
    use xbuild_model::remote::Asker;

    #[test]
    fn a_password_is_never_written() {
        let remote = |url: &str| {
            let source = RemoteSource::parse(url, Asker::Context).unwrap().unwrap();
            serde_json::to_string(&ContextPlace::Remote(source))
        };
        assert!(remote("https://x.example/r.git#main").is_ok());
        assert!(remote("https://user:password@x.example/r.git").is_err());
        let file = |url: &str| serde_json::to_string(&DockerfilePlace::Url(url.to_owned()));
        assert!(file("https://x.example/Dockerfile").is_ok());
        assert!(file("https://user:password@x.example/Dockerfile").is_err());
    }
}
