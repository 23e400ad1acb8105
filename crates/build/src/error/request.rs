//! Requests that are wrong in themselves.

use std::path::PathBuf;

use xbuild_dockerfile::CheckError;
use xbuild_model::remote::RemoteError;
use xbuild_model::{Platform, Reference};
use xbuild_wording::{Hint, hints, quoted};

use super::{ErrorKind, Fault};
use crate::sources::PolicyError;

/// A request that contradicts itself, or asks for something that does not exist.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request pushes an image without a name.
    #[error("--push needs a name for the image")]
    NoName,
    /// A name of the image has a digest; only the build gives the digest.
    #[error("a tag cannot have a digest: {name}")]
    NameWithDigest {
        /// The name.
        name: Box<Reference>,
    },
    /// An image in a second form has no name of its own.
    #[error("several --output type=image in different forms need different names")]
    NamelessForm,
    /// Two images that differ would have one name.
    #[error("{name} is the name of two outputs in different forms")]
    SharedName {
        /// The name.
        name: Box<Reference>,
    },
    /// There are other images besides the one that is pushed by its digest.
    #[error("push-by-digest=true is for a single image that is pushed: --output has others")]
    SeveralByDigest,
    /// One name is that of the image of one platform, and of something else.
    #[error("{name} would name the image of {platform} and {}", match &**other {
        Some(other) => format!("that of {other}"),
        None => "the index".to_owned(),
    })]
    PlatformName {
        /// The name.
        name: Box<Reference>,
        /// The platform.
        platform: Box<Platform>,
        /// The other platform; `None` for the index.
        other: Box<Option<Platform>>,
    },
    /// An image that is pushed by its digest has a tag.
    #[error("{name}: push-by-digest=true gives no tag")]
    TagByDigest {
        /// The name.
        name: Box<Reference>,
    },
    /// Documents with Docker's media types have no annotations.
    #[error("oci-mediatypes=false: documents of Docker's types have no annotations")]
    DockerAnnotations,
    /// Documents with Docker's media types have no attestations.
    #[error("oci-mediatypes=false: an index of Docker's types has no attestations")]
    DockerAttestations,
    /// A source policy has a rule that cannot be kept.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Files of several platforms would be one file.
    #[error(
        "platform-split=false: {path} of {platform} is also a file of another platform, and one \
         folder holds one of them"
    )]
    SharedPath {
        /// The path in the image, for display.
        path: String,
        /// The platform.
        platform: Box<Platform>,
    },
    /// A statement would take the place of a file.
    #[error("{path} is a file of the image, and the name of the file with a statement about it")]
    StatementPath {
        /// The path in the image.
        path: String,
    },
    /// There are annotations for an index, but the result has no index.
    #[error("an index is annotated, but the image of a single platform has none")]
    NoIndex,
    /// Two agents have one id.
    #[error("--ssh {id} is given twice")]
    AgentTwice {
        /// The id.
        id: String,
    },
    /// Both the context and the Dockerfile are standard input.
    #[error("standard input cannot be both the build context and the Dockerfile")]
    StdinTwice,
    /// The request takes a Dockerfile from a context that is itself a Dockerfile.
    #[error("the build context is a Dockerfile: --file {} cannot be in it", path.display())]
    FileInDockerfile {
        /// The path.
        path: PathBuf,
    },
    /// The URL of the Dockerfile is malformed.
    #[error(transparent)]
    DockerfileUrl(RemoteError),
    /// The URL of the Dockerfile names a repository.
    #[error("--file {url}: a repository is not a Dockerfile")]
    DockerfileRepository {
        /// The URL, without user and password.
        url: String,
    },
    /// The build argument that chooses lint rules is malformed.
    #[error("invalid --build-arg {name}={value}: {error}")]
    Checks {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// The reason.
        error: CheckError,
    },
    /// `SOURCE_DATE_EPOCH` is not a time.
    #[error(
        "invalid SOURCE_DATE_EPOCH {text}: expected whole seconds since 1970",
        text = quoted(.text)
    )]
    Epoch {
        /// Its value.
        text: String,
    },
}

impl Fault for RequestError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Request
    }

    fn hint(&self) -> Option<Hint> {
        let hint = match self {
            Self::NoName => hints::name_of_image(),
            Self::PlatformName { .. } => hints::platform_in_name(),
            Self::TagByDigest { .. } => hints::tag_later(),
            Self::DockerAnnotations | Self::DockerAttestations => hints::no_docker_types(),
            Self::StatementPath { .. } => hints::other_statement_path(),
            Self::NamelessForm => hints::name_each(),
            Self::NoIndex => hints::index_of_one(),
            _ => return None,
        };
        Some(hint)
    }
}
