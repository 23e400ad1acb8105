//! Attestations: statements about an image, in a manifest of their own beside it in the index.
//!
//! **Source** — BuildKit, `docs/attestations/attestation-storage.md`; OCI image-spec `manifest.md`
//! § Guidelines for artifact usage.

use std::collections::BTreeMap;

use oci_spec::image::{MediaType, SCHEMA_VERSION};
use serde::Serialize;
use serde_json::{Map, Value, json};
use xbuild_model::manifest::{DescriptorPlatform, OCI_CONFIG};
use xbuild_model::{Descriptor, DiffId};

/// The annotation of an entry of an index that says what the manifest is.
pub(crate) const TYPE: &str = "vnd.docker.reference.type";
/// The value of [`TYPE`] for attestations.
pub(crate) const ATTESTATION: &str = "attestation-manifest";
/// The annotation in which an attestation names the manifest that it is about.
pub(crate) const SUBJECT: &str = "vnd.docker.reference.digest";

/// The media type of a statement.
pub(crate) const STATEMENT: &str = "application/vnd.in-toto+json";
/// The annotation of a statement with the type of its predicate.
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
/// The type of an artifact that has attestations.
const ARTIFACT: &str = "application/vnd.docker.attestation.manifest.v1+json";
/// The media type of a configuration of an artifact that has none.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A statement about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Attestation {
    /// The type of its predicate.
    pub predicate_type: String,
    /// The in-toto statement, as JSON.
    pub bytes: Vec<u8>,
}

/// The documents of an attestation manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct AssembledAttestation {
    /// The descriptor of the manifest, as the index has it.
    pub descriptor: Descriptor,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The statements, then the configuration.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// A manifest of attestations.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'static str>,
    config: &'a Descriptor,
    layers: Vec<&'a Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
}

/// Makes a manifest of statements about an image. If it looks `like_an_image`, it has a configuration
/// of an image for no platform, for readers that know no artifacts.
pub(crate) fn assemble_attestation(
    image: &Descriptor,
    statements: Vec<Attestation>,
    like_an_image: bool,
) -> AssembledAttestation {
    let layer = |Attestation { predicate_type, bytes }: Attestation| {
        let annotations = [(PREDICATE_TYPE.to_owned(), predicate_type)].into();
        (Descriptor { annotations, ..Descriptor::of(STATEMENT, &bytes) }, bytes)
    };
    let mut blobs: Vec<(Descriptor, Vec<u8>)> = statements.into_iter().map(layer).collect();
    blobs.push(if like_an_image { image_config(&blobs) } else { empty_config() });
    let (config, layers) = blobs.split_last().expect("the configuration is there");
    let media_type = MediaType::ImageManifest.to_string();
    let subject = Descriptor::new(&image.media_type, image.digest.clone(), image.size);
    let manifest = serde_json::to_vec(&Manifest {
        schema_version: SCHEMA_VERSION,
        media_type: &media_type,
        artifact_type: (!like_an_image).then_some(ARTIFACT),
        config: &config.0,
        layers: layers.iter().map(|(layer, _)| layer).collect(),
        subject: (!like_an_image).then_some(subject),
    });
    let manifest = manifest.expect("a manifest has string keys only");
    let mut descriptor = Descriptor::of(&media_type, &manifest);
    descriptor.platform = Some(DescriptorPlatform {
        architecture: "unknown".to_owned(),
        os: "unknown".to_owned(),
        ..DescriptorPlatform::default()
    });
    descriptor.annotations = BTreeMap::from([
        (TYPE.to_owned(), ATTESTATION.to_owned()),
        (SUBJECT.to_owned(), image.digest.to_string()),
    ]);
    AssembledAttestation { descriptor, manifest, blobs }
}

/// Returns the configuration of an artifact, which is empty, with its bytes in the descriptor.
fn empty_config() -> (Descriptor, Vec<u8>) {
    let bytes = b"{}".to_vec();
    let other: Map<String, Value> = [("data".to_owned(), json!("e30="))].into_iter().collect();
    (Descriptor { other, ..Descriptor::of(EMPTY, &bytes) }, bytes)
}

/// Returns the configuration of an image for no platform whose layers are the statements.
fn image_config(statements: &[(Descriptor, Vec<u8>)]) -> (Descriptor, Vec<u8>) {
    #[derive(Serialize)]
    struct Config {
        architecture: &'static str,
        os: &'static str,
        config: Map<String, Value>,
        rootfs: Files,
    }
    #[derive(Serialize)]
    struct Files {
        r#type: &'static str,
        diff_ids: Vec<DiffId>,
    }
    let ids = statements.iter().map(|(layer, _)| DiffId(layer.digest.clone()));
    let bytes = serde_json::to_vec(&Config {
        architecture: "unknown",
        os: "unknown",
        config: Map::new(),
        rootfs: Files { r#type: "layers", diff_ids: ids.collect() },
    });
    let bytes = bytes.expect("a configuration has string keys only");
    (Descriptor::of(OCI_CONFIG, &bytes), bytes)
}
