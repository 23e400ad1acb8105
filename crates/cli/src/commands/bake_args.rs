//! The arguments of `xbuild bake`.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::path::PathBuf;

use clap::ValueEnum;
use xbuild_bake::attestation_shorthand;

use crate::console::ProgressMode;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild bake`, spelled as `docker buildx bake` spells them.
#[derive(Debug, clap::Args)]
pub(crate) struct BakeArgs {
    /// Targets and groups to build, or patterns of their names [default: default]
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,

    /// A bake file: HCL, JSON or a compose file, or - for standard input (repeatable) [default: those of
    /// compose.yaml, docker-compose.yml, docker-bake.json, docker-bake.hcl and their overrides that are
    /// here]
    #[arg(short, long, value_name = "FILE", help_heading = "Definition")]
    pub(super) file: Vec<PathBuf>,
    /// Set an attribute of targets: TARGET.ATTRIBUTE[.NAME][+]=VALUE; TARGET may be a pattern
    /// (repeatable)
    #[arg(long, value_name = "TARGET.KEY=VALUE", help_heading = "Definition")]
    pub(super) set: Vec<String>,
    /// Set a variable of the bake file (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Definition")]
    pub(super) var: Vec<String>,
    /// Print the targets as JSON instead of building them
    #[arg(long, help_heading = "Definition")]
    pub(super) print: bool,
    /// List the targets or the variables: targets|variables, or type=TYPE,format=json
    #[arg(long, value_name = "TYPE", conflicts_with = "print", help_heading = "Definition")]
    pub(super) list: Option<String>,

    /// Push the images under their names: --set *.push=true
    #[arg(long, help_heading = "Result")]
    pub(super) push: bool,
    /// Load the images into docker, else podman: --set *.load=true
    #[arg(long, help_heading = "Result")]
    pub(super) load: bool,
    /// Write the digests to a JSON file, by target
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Check the Dockerfiles instead of building: --call check
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Result")]
    pub(super) check: Option<bool>,
    /// Method of all targets: build, or check
    #[arg(long, value_name = "METHOD", help_heading = "Result")]
    pub(super) call: Option<String>,
    /// Attach an SBOM: --set *.attest=type=sbom
    #[arg(long, value_name = "VALUE", help_heading = "Result")]
    pub(super) sbom: Option<String>,
    /// Attach the provenance: --set *.attest=type=provenance
    #[arg(long, value_name = "VALUE", help_heading = "Result")]
    pub(super) provenance: Option<String>,
    /// Kind of progress
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "BUILDKIT_PROGRESS",
        hide_env_values = true,
        hide_possible_values = true,
        value_name = "auto|plain|tty|quiet",
        help_heading = "Result"
    )]
    pub(super) progress: ProgressMode,

    /// Run every step, even if its result is in the cache: --set *.no-cache=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Steps")]
    pub(super) no_cache: Option<bool>,
    /// Ask registries for base images in any case: --set *.pull=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL", help_heading = "Steps")]
    pub(super) pull: Option<bool>,
    /// Grant what targets ask for: network.host, security.insecure, ssh, fs=PATH, fs.read=PATH,
    /// fs.write=PATH (repeatable)
    #[arg(long, value_name = "ENTITLEMENT", help_heading = "Steps")]
    pub(super) allow: Vec<String>,

    /// There are no builder instances: refused
    #[arg(long, hide = true)]
    pub(super) builder: Option<String>,
    /// Policies in Rego are not implemented: refused
    #[arg(long, hide = true)]
    pub(super) policy: Vec<String>,

    #[command(flatten)]
    pub(super) registries: RegistryArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}

impl BakeArgs {
    /// Returns the kind of progress.
    pub(crate) fn progress(&self) -> ProgressMode {
        self.progress
    }

    /// Returns what the arguments set of targets, as values of `--set`.
    pub(super) fn sets(&self) -> Result<Vec<String>, Problem> {
        if self.builder.is_some() {
            let reason = "--builder is not implemented: there are no builder instances";
            return Err(Problem::command_line(reason));
        }
        if !self.policy.is_empty() {
            let reason = "--policy is not implemented: policies in Rego are not read";
            return Err(Problem::command_line(reason));
        }
        let mut sets = self.set.clone();
        let mut all = |key: &str, value: Option<String>| {
            sets.extend(value.map(|value| format!("*.{key}={value}")));
        };
        all("push", self.push.then(|| "true".to_owned()));
        all("load", self.load.then(|| "true".to_owned()));
        all("no-cache", self.no_cache.map(|value| value.to_string()));
        all("pull", self.pull.map(|value| value.to_string()));
        let check = (self.check == Some(true)).then(|| "check".to_owned());
        all("call", check.or_else(|| self.call.clone()).filter(|call| call != "build"));
        let attest = |kind: &str, value: &Option<String>| {
            value.as_deref().map(|value| attestation_shorthand(kind, value))
        };
        all("attest", attest("sbom", &self.sbom));
        all("attest", attest("provenance", &self.provenance));
        Ok(sets)
    }

    /// Returns what `--list` asks for.
    pub(super) fn list(&self) -> Result<Option<(ListKind, bool)>, Problem> {
        let Some(text) = &self.list else { return Ok(None) };
        let fail = || {
            let reason = "expected targets or variables, or type=targets,format=json";
            Problem::command_line(format!("invalid --list {text:?}: {reason}"))
        };
        let (mut kind, mut is_json) = (None, false);
        for field in text.split(',') {
            match field.split_once('=').unwrap_or(("type", field)) {
                ("type", value) => kind = ListKind::from_str(value, false).ok(),
                ("format", "json") => is_json = true,
                ("format", "table") => is_json = false,
                _ => return Err(fail()),
            }
        }
        kind.map(|kind| Some((kind, is_json))).ok_or_else(fail)
    }
}

/// A list of things in bake files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListKind {
    /// Targets and groups
    Targets,
    /// Variables
    Variables,
}
