//! The arguments of `xbuild bake`.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::path::PathBuf;

use clap::ValueEnum;
use xbuild_bake::attestation_shorthand;
use xbuild_wording::quoted;

use crate::build_options::{ClaimArgs, JobsArgs, MethodArgs, ProgressArgs};
use crate::config::OnLineOnly;
use crate::console::ProgressMode;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use crate::switches::boolean;

/// The arguments of `xbuild bake`, spelled as `docker buildx bake` spells them.
#[derive(Debug, clap::Args)]
pub(crate) struct BakeArgs {
    /// Targets and groups to build, or patterns of their names [default: default]; a URL in front of
    /// them is a repository or a file with the definition
    #[arg(value_name = "TARGET")]
    pub(super) targets: Vec<String>,

    /// A bake file: HCL, JSON or a compose file, or - for standard input (repeatable) [default: those of
    /// compose.yaml, docker-compose.yml, docker-bake.json, docker-bake.hcl and their overrides that are
    /// here]
    #[arg(short, long, value_name = "FILE", help_heading = "Definition", add = OnLineOnly)]
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
    /// The former spelling of --list targets
    #[arg(long, hide = true, conflicts_with_all = ["print", "list"])]
    pub(super) list_targets: bool,
    /// The former spelling of --list variables
    #[arg(long, hide = true, conflicts_with_all = ["print", "list", "list_targets"])]
    pub(super) list_variables: bool,

    /// Push the images under their names: --set *.push=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, value_name = "BOOL", help_heading = "Result")]
    pub(super) push: Option<bool>,
    /// Load the images into docker, else podman: --set *.load=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, value_name = "BOOL", help_heading = "Result")]
    pub(super) load: Option<bool>,
    /// Write the digests to a JSON file, by target
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) metadata_file: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Result")]
    pub(super) method: MethodArgs,
    #[command(flatten, next_help_heading = "Result")]
    pub(super) claims: ClaimArgs,
    #[command(flatten, next_help_heading = "Result")]
    pub(super) progress: ProgressArgs,

    /// Run every step, even if its result is in the cache: --set *.no-cache=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, value_name = "BOOL", help_heading = "Steps")]
    pub(super) no_cache: Option<bool>,
    /// Ask registries for base images in any case: --set *.pull=true
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean, value_name = "BOOL", help_heading = "Steps")]
    pub(super) pull: Option<bool>,
    /// Grant what targets ask for: network.host, security.insecure, ssh, fs=PATH, fs.read=PATH,
    /// fs.write=PATH (repeatable)
    #[arg(long, value_name = "ENTITLEMENT", help_heading = "Steps")]
    pub(super) allow: Vec<String>,

    #[command(flatten, next_help_heading = "Steps")]
    pub(super) jobs: JobsArgs,

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
        self.progress.progress
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
        let on = |switch: Option<bool>| (switch == Some(true)).then(|| "true".to_owned());
        all("push", on(self.push));
        all("load", on(self.load));
        all("no-cache", self.no_cache.map(|value| value.to_string()));
        all("pull", self.pull.map(|value| value.to_string()));
        let check = self.method.check.then(|| "check".to_owned());
        all("call", check.or_else(|| self.method.call.clone()).filter(|call| call != "build"));
        let attest = |kind: &str, value: &Option<String>| {
            value.as_deref().map(|value| attestation_shorthand(kind, value))
        };
        all("attest", attest("sbom", &self.claims.sbom));
        all("attest", attest("provenance", &self.claims.provenance));
        Ok(sets)
    }

    /// Returns what `--list` asks for.
    pub(super) fn list(&self) -> Result<Option<(ListKind, bool)>, Problem> {
        let text = match (&self.list, self.list_targets, self.list_variables) {
            (Some(text), ..) => text.as_str(),
            (None, true, _) => "targets",
            (None, _, true) => "variables",
            (None, false, false) => return Ok(None),
        };
        let fail = || {
            let reason = "expected targets or variables, or type=targets,format=json";
            Problem::command_line(format!("invalid --list {text}: {reason}", text = quoted(&text)))
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
