//! The image configuration document.
//!
//! The types are our own, not `oci-spec`'s: Docker's members (`Healthcheck`, `OnBuild`, `Shell`)
//! and members that nobody knows yet must survive from a base image into the result
//! (docs/decisions/0001).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::null::{list, null_is_default, texts};
use crate::{DiffId, Platform};

/// An image configuration.
///
/// **Source** — OCI image-spec `config.md`; Docker image specification 1.3 for the members that
/// OCI lacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it (MAINTAINER).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor architecture, as GOARCH.
    #[serde(default, deserialize_with = "null_is_default")]
    pub architecture: String,
    /// The operating system, as GOOS.
    #[serde(default, deserialize_with = "null_is_default")]
    pub os: String,
    /// The version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features of the operating system (Windows).
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The variant of the architecture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// How a container of the image runs.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: ContainerConfig,
    /// The layers.
    #[serde(default, deserialize_with = "null_is_default")]
    pub rootfs: RootFs,
    /// One entry for each instruction, the oldest first.
    #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
    /// Members that xbuild does not know, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ImageConfig {
    /// Returns the platform that the configuration names, normalised.
    pub fn platform(&self) -> Platform {
        Platform::new(&self.os, &self.architecture, self.variant.as_deref())
    }
}

/// How a container of an image runs: the `config` member of the image configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerConfig {
    /// `USER`, as written: name or number, `:` and a group.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub user: String,
    /// `EXPOSE`: `port/protocol` to an empty object.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub exposed_ports: BTreeMap<String, Value>,
    /// `ENV`: `NAME=value`, in the order of their first setting.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// `ENTRYPOINT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// `VOLUME`: path to an empty object.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub volumes: BTreeMap<String, Value>,
    /// `WORKDIR`: absolute, or empty when none was ever set.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub working_dir: String,
    /// `LABEL`.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
    /// `HEALTHCHECK` (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// `ONBUILD` triggers (Docker), in order.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// `SHELL` (Docker).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Members that xbuild does not know, kept as they are.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A health check (Docker). Durations are in nanoseconds; a member of 0 is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", args..]` or `["CMD-SHELL", command]`.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two checks.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time after which a check has failed.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks during the start period.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make the container unhealthy.
    #[serde(default, deserialize_with = "null_is_default", skip_serializing_if = "is_zero")]
    pub retries: i64,
}

/// The layers of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type", default = "layers", deserialize_with = "kind")]
    pub kind: String,
    /// The layers, the oldest first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: layers(), diff_ids: Vec::new() }
    }
}

/// The effect of one instruction. Entries that are not `empty_layer` match `diff_ids` one to one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the instruction made no layer.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub empty_layer: bool,
}

/// Reads the kind of the layers, which Go programs that know none write as `null` or empty.
fn kind<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let kind: Option<String> = Option::deserialize(deserializer)?;
    Ok(kind.filter(|kind| !kind.is_empty()).unwrap_or_else(layers))
}

fn layers() -> String {
    "layers".to_owned()
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_it_does_not_know() {
        let text = r#"{"architecture":"arm64","os":"linux","config":{"Env":null,"Shell":["/bin/bash"],"ArgsEscaped":true},"rootfs":{"type":"layers","diff_ids":null},"history":null,"moby.buildkit.x":1}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.config.shell.as_deref(), Some(&["/bin/bash".to_owned()][..]));
        let value = serde_json::to_value(&config).unwrap();
        assert_eq!(value["config"]["ArgsEscaped"], true);
        assert_eq!(value["moby.buildkit.x"], 1);
    }

    #[test]
    fn null_is_absent_everywhere() {
        let text = r#"{"architecture":null,"os":null,"variant":null,"created":null,"author":null,
            "os.version":null,"os.features":null,"rootfs":{"type":null,"diff_ids":null},
            "history":[null,{"created":null,"created_by":null,"empty_layer":null,"comment":null}],
            "config":{"User":null,"ExposedPorts":null,"Env":null,"Entrypoint":null,"Cmd":null,
            "Volumes":null,"WorkingDir":null,"Labels":{"a":null,"b":"c"},"StopSignal":null,
            "Healthcheck":{"Test":null,"Interval":null,"Retries":null},"OnBuild":null,
            "Shell":null}}"#;
        let config: ImageConfig = serde_json::from_str(text).unwrap();
        let mut expected = ImageConfig::default();
        expected.history.push(History::default());
        expected.config.healthcheck = Some(Healthcheck::default());
        expected.config.labels.insert("b".to_owned(), "c".to_owned());
        assert_eq!(config, expected);
        let config: ImageConfig = serde_json::from_str(r#"{"rootfs":null}"#).unwrap();
        assert_eq!(config, ImageConfig::default());
    }

    #[test]
    fn accepts_a_null_config() {
        let config: ImageConfig = serde_json::from_str(r#"{"os":"linux","config":null}"#).unwrap();
        assert_eq!(config.config, ContainerConfig::default());
    }
}
