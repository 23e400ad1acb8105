//! The predicate of SLSA 1.

use std::collections::BTreeMap;

use serde::Serialize;

use super::facts::{Config, Facts, Material, is_false};
use super::told::{BuildConfig, Metadata, Request, Told};

/// The type of the predicate.
pub(super) const TYPE: &str = "https://slsa.dev/provenance/v1";

/// The type of the build, which tells what the parameters mean: they are those of BuildKit.
const BUILD_TYPE: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Predicate<'a> {
    build_definition: BuildDefinition<'a>,
    run_details: RunDetails<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildDefinition<'a> {
    build_type: &'static str,
    external_parameters: External<'a>,
    internal_parameters: Internal<'a>,
    #[serde(skip_serializing_if = "<[Material]>::is_empty")]
    resolved_dependencies: &'a [Material],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct External<'a> {
    config_source: &'a Config,
    request: &'a Request<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Internal<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    build_config: Option<&'a BuildConfig<'a>>,
    builder_platform: &'a str,
}

#[derive(Serialize)]
struct RunDetails<'a> {
    builder: Builder<'a>,
    metadata: RunMetadata<'a>,
}

#[derive(Serialize)]
struct Builder<'a> {
    id: &'a str,
    version: BTreeMap<&'static str, &'static str>,
}

#[derive(Serialize)]
struct RunMetadata<'a> {
    #[serde(rename = "invocationId", skip_serializing_if = "Option::is_none")]
    invocation_id: Option<&'a str>,
    #[serde(rename = "startedOn", skip_serializing_if = "Option::is_none")]
    started_on: Option<&'a str>,
    #[serde(rename = "finishedOn", skip_serializing_if = "Option::is_none")]
    finished_on: Option<&'a str>,
    buildkit_metadata: &'a Metadata<'a>,
    #[serde(skip_serializing_if = "is_false")]
    buildkit_hermetic: bool,
    buildkit_completeness: Completeness,
    #[serde(skip_serializing_if = "is_false")]
    buildkit_reproducible: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Completeness {
    request: bool,
    resolved_dependencies: bool,
}

/// Returns the predicate.
pub(super) fn predicate<'a>(facts: &'a Facts, told: &'a Told<'a>) -> Predicate<'a> {
    let times = facts.times.as_ref();
    Predicate {
        build_definition: BuildDefinition {
            build_type: BUILD_TYPE,
            external_parameters: External { config_source: &facts.config, request: &told.request },
            internal_parameters: Internal {
                build_config: told.build_config.as_ref(),
                builder_platform: &facts.builder_platform,
            },
            resolved_dependencies: &facts.materials,
        },
        run_details: RunDetails {
            builder: Builder { id: &told.options.builder_id, version: [facts.builder].into() },
            metadata: RunMetadata {
                invocation_id: times.map(|times| &*times.invocation),
                started_on: times.map(|times| &*times.started),
                finished_on: times.map(|times| &*times.finished),
                buildkit_metadata: &told.metadata,
                buildkit_hermetic: told.is_hermetic,
                buildkit_completeness: Completeness {
                    request: told.is_request_whole,
                    resolved_dependencies: told.are_materials_whole,
                },
                buildkit_reproducible: told.options.reproducible,
            },
        },
    }
}
