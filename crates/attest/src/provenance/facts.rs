//! The facts of a build, and how much of them is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The names and values of digests: `sha256` of files and images, `sha1` of commits.
pub type DigestSet = BTreeMap<&'static str, String>;

/// The inputs of a build and the way it was done, for one platform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// The Dockerfile and the remote context that it is in.
    pub config: Config,
    /// The request by the names of BuildKit's frontend: `build-arg:NAME`, `label:NAME`, `target`.
    pub arguments: BTreeMap<String, String>,
    /// The secrets that steps may mount.
    pub secrets: Vec<Needed>,
    /// The SSH agents that steps may mount.
    pub agents: Vec<Needed>,
    /// The contexts that are folders of the builder, whose contents nothing here names.
    pub locals: Vec<String>,
    /// The images, commits and files that were fetched, in this order.
    pub materials: Vec<Material>,
    /// Whether a step had a network.
    pub has_network: bool,
    /// The platform of the builder.
    pub builder_platform: String,
    /// The name and version of the program that built.
    pub builder: (&'static str, &'static str),
    /// When and as what the build ran; `None` if the statement has to be the same each time.
    pub times: Option<Times>,
    /// The steps, inputs before their users.
    pub steps: Vec<Step>,
    /// The Dockerfiles.
    pub sources: Vec<SourceFile>,
    /// The steps whose layers are known: the number of the step, and how many layers of the image, the
    /// oldest, are those.
    pub lengths: Vec<(usize, usize)>,
    /// The descriptors of the image's layers, oldest first; none if it has no manifest.
    pub layers: Vec<Value>,
}

/// The place that the Dockerfile comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The address of the remote context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its digest.
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    pub digest: DigestSet,
    /// The path of the Dockerfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// A secret or an agent that a step asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Needed {
    /// Its name.
    pub id: String,
    /// Whether steps do without it.
    #[serde(skip_serializing_if = "is_false")]
    pub optional: bool,
}

/// Something that was fetched for a build: an image, a file or a commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Material {
    /// Its address, without user and password.
    pub uri: String,
    /// Its digest.
    pub digest: DigestSet,
}

/// When and as what a build ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// A name that no other build has.
    pub invocation: String,
    /// Its begin, RFC 3339.
    pub started: String,
    /// Its end, RFC 3339.
    pub finished: String,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The label that progress shows.
    pub name: String,
    /// The platform of its stage.
    pub platform: String,
    /// The numbers of the steps that it needs.
    pub inputs: Vec<usize>,
    /// The operation.
    pub operation: Value,
    /// The number of its Dockerfile in [`Facts::sources`], and its lines.
    pub place: Option<(usize, Lines)>,
}

/// Lines of a Dockerfile, 1-based; both ends belong to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// The first.
    pub first: u32,
    /// The last.
    pub last: u32,
}

/// A Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name.
    pub name: String,
    /// Its contents.
    pub text: Vec<u8>,
}

/// The version of the predicate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SlsaVersion {
    /// 1.
    #[default]
    V1,
    /// 0.2.
    V02,
}

/// Options of a provenance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceOptions {
    /// The version of the predicate.
    pub version: SlsaVersion,
    /// Whether it has everything: values of build arguments and labels, names of secrets, the
    /// Dockerfile, and the steps.
    pub is_max: bool,
    /// The id of the builder; may be empty.
    pub builder_id: String,
    /// Whether the user vouches that the build gives the same bytes each time.
    pub reproducible: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for this signature")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}
