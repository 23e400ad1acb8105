//! The predicate of SLSA 0.2.

use serde::Serialize;

use super::facts::{DigestSet, Facts, Material, is_false};
use super::told::{BuildConfig, Metadata, Request, Told};

/// The type of the predicate.
pub(super) const TYPE: &str = "https://slsa.dev/provenance/v0.2";

/// The type of the build, as BuildKit names it in this version.
const BUILD_TYPE: &str = "https://mobyproject.org/buildkit@v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate<'a> {
    builder: Builder<'a>,
    build_type: &'static str,
    #[serde(skip_serializing_if = "<[Material]>::is_empty")]
    materials: &'a [Material],
    invocation: Invocation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_config: Option<&'a BuildConfig<'a>>,
    metadata: RunMetadata<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation<'a> {
    config_source: ConfigSource<'a>,
    parameters: &'a Request<'a>,
    environment: Environment<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigSource<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<&'a str>,
    #[serde(skip_serializing_if = "DigestSet::is_empty")]
    digest: &'a DigestSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    entry_point: Option<&'a str>,
}

#[derive(Serialize)]
struct Environment<'a> {
    platform: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunMetadata<'a> {
    #[serde(rename = "buildInvocationID", skip_serializing_if = "Option::is_none")]
    build_invocation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_started_on: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    build_finished_on: Option<&'a str>,
    completeness: Completeness,
    reproducible: bool,
    #[serde(
        rename = "https://mobyproject.org/buildkit@v1#hermetic",
        skip_serializing_if = "is_false"
    )]
    hermetic: bool,
    #[serde(rename = "https://mobyproject.org/buildkit@v1#metadata")]
    metadata: &'a Metadata<'a>,
}

#[derive(Serialize)]
struct Completeness {
    parameters: bool,
    environment: bool,
    materials: bool,
}

/// Returns the predicate.
pub(super) fn predicate<'a>(facts: &'a Facts, told: &'a Told<'a>) -> Predicate<'a> {
    let times = facts.times.as_ref();
    Predicate {
        builder: Builder { id: &told.options.builder_id },
        build_type: BUILD_TYPE,
        materials: &facts.materials,
        invocation: Invocation {
            config_source: ConfigSource {
                uri: facts.config.uri.as_deref(),
                digest: &facts.config.digest,
                entry_point: facts.config.path.as_deref(),
            },
            parameters: &told.request,
            environment: Environment { platform: &facts.builder_platform },
        },
        build_config: told.build_config.as_ref(),
        metadata: RunMetadata {
            build_invocation_id: times.map(|times| &*times.invocation),
            build_started_on: times.map(|times| &*times.started),
            build_finished_on: times.map(|times| &*times.finished),
            completeness: Completeness {
                parameters: told.is_request_whole,
                environment: true,
                materials: told.are_materials_whole,
            },
            reproducible: told.options.reproducible,
            hermetic: told.is_hermetic,
            metadata: &told.metadata,
        },
    }
}
