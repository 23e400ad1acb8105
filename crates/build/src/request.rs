//! A build request: a plain value with all that the user asked for.
//!
//! A [`BuildRequest`] says what to build, how, and where the result goes. It can be written as JSON
//! and read on another machine. Store, programs, proxies and logins are not part of it: each
//! machine has its own, in a [`Machine`](crate::Machine). The two are separate because two machines
//! with the same request must make the same images, whatever is installed on them.
//!
//! A request names the places of secrets and never holds a secret. Serialising fails if a URL has a
//! password: better no request than a password in a file.
//!
//! Paths are as the user wrote them, since messages and spans show them. Relative paths begin at
//! the current folder of the process that runs the build. `SOURCE_DATE_EPOCH` is a build argument.

mod annotations;
mod attestations;
mod cache;
mod input;
mod output;
mod sources;
mod steps;

use serde::{Deserialize, Serialize};
use xbuild_model::{Platform, Reference};

pub use annotations::{Annotation, Annotations};
pub use attestations::{Attestations, MetadataProvenance, ProvenanceRequest};
pub use cache::{CacheFrom, CacheMode, CacheMountsTo, CachePlaceRequest, CacheRequest, CacheTo};
pub use input::{ContextPlace, DockerfilePlace, InputRequest, NamedPlace, OwnDockerfile, Pull};
pub use output::{ImageOptions, LayerForm, ManifestForm, Output, Split, Target};
pub use sources::SourceRules;
pub use steps::{AgentSource, Emulation, Isolation, SecretPlace, SecretSource, StepsRequest};

/// All that the user asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildRequest {
    /// The Dockerfile, its contexts and arguments.
    pub input: InputRequest,
    /// Rules for what is taken from elsewhere.
    #[serde(default)]
    pub sources: SourceRules,
    /// Options of the steps.
    pub steps: StepsRequest,
    /// Shared caches.
    #[serde(default)]
    pub cache: CacheRequest,
    /// Labels of the image, over those of the Dockerfile: name and value; the last of a name
    /// counts.
    pub labels: Vec<(String, String)>,
    /// Annotations of manifests and index.
    pub annotations: Annotations,
    /// The statements about the image that are made with it.
    #[serde(default)]
    pub attestations: Attestations,
    /// The names of the image; of the index if there are several platforms.
    pub tags: Vec<Reference>,
    /// Further names, each for the image of one platform.
    pub platform_tags: Vec<PlatformTag>,
    /// Where the result goes. Without an output the store keeps it under its names.
    pub outputs: Vec<Output>,
    /// Whether the image is pushed under its names, besides what `outputs` say.
    pub push: bool,
}

/// A name of the image of one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformTag {
    /// The platform.
    pub platform: Platform,
    /// The name of its manifest.
    pub name: Reference,
}

impl BuildRequest {
    /// Returns whether a push gives no tag.
    pub fn is_by_digest(&self) -> bool {
        let is_by_digest = |output: &Output| matches!(output.target, Target::Image { options, .. } if options.by_digest);
        self.outputs.iter().any(is_by_digest)
    }

    /// Returns whether an image of a single platform has an index, too: if it is asked for, or if there are
    /// attestations.
    pub(crate) fn always_has_index(&self) -> bool {
        self.input.has_index() || !self.attestations.are_none()
    }

    /// Returns whether the image is pushed, because the request or one of its outputs says so.
    pub fn is_pushed(&self) -> bool {
        let pushes = |output: &Output| matches!(output.target, Target::Image { push: true, .. });
        self.push || self.outputs.iter().any(pushes)
    }
}
