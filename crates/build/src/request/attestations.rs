//! Statements about the image that are made with it.

use serde::{Deserialize, Serialize};
use xbuild_attest::ProvenanceOptions;

/// The statements about an image that are made with it. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestations {
    /// How it was built.
    pub provenance: Option<ProvenanceRequest>,
    /// Whether it tells which packages it has.
    #[serde(default)]
    pub sbom: bool,
    /// As much of the provenance as the outcome of the build has, for a metadata file. It is in no
    /// image.
    #[serde(default)]
    pub for_metadata: Option<MetadataProvenance>,
}

/// As much of a provenance as a metadata file has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataProvenance {
    /// The request, and what was fetched.
    #[default]
    Min,
    /// Steps, Dockerfiles and times, too.
    Max,
}

/// What is asked for of a provenance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvenanceRequest {
    /// What it tells.
    pub options: ProvenanceOptions,
    /// The name of its file beside the files of an image: one part of a path.
    pub file: String,
    /// Whether outputs of files get none.
    pub inline_only: bool,
}

impl Default for ProvenanceRequest {
    fn default() -> Self {
        let (options, file) = (ProvenanceOptions::default(), "provenance.json".to_owned());
        Self { options, file, inline_only: false }
    }
}

impl Attestations {
    /// Returns whether the image gets none.
    pub fn are_none(&self) -> bool {
        self.provenance.is_none() && !self.sbom
    }
}
