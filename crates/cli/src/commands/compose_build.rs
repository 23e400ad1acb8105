//! `xbuild compose-build`: builds the services of compose files, as `docker compose build` does.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

mod project;

use std::collections::BTreeSet;
use std::sync::Arc;

use xbuild_bake::{Config, Overrides, Project, Service, attestation_shorthand};

use super::bake_build::{self, Options};
use super::bake_files;
use crate::build_options::{ClaimArgs, JobsArgs, ProgressArgs};
use crate::console::{Console, ProgressMode};
use crate::environment;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use project::{Found, ProjectArgs};

/// The arguments of `xbuild compose-build`, spelled as `docker compose build` spells them.
#[derive(Debug, clap::Args)]
pub(crate) struct ComposeBuildArgs {
    /// Services to build [default: all that have a build]
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    project: ProjectArgs,
    /// Set a build argument of all services (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Push the images that have a name in the file
    #[arg(long)]
    push: bool,
    /// Load the images into docker, else podman
    #[arg(long)]
    load: bool,
    /// Ask registries for base images in any case
    #[arg(long)]
    pull: bool,
    /// Run every step, even if its result is in the cache
    #[arg(long)]
    no_cache: bool,
    /// Also build the services that these depend on
    #[arg(long)]
    with_dependencies: bool,
    /// Print the targets as JSON instead of building them
    #[arg(long)]
    print: bool,
    /// Check the Dockerfiles instead of building
    #[arg(long)]
    check: bool,
    /// Give an SSH agent to all services: ID[=PATH] (repeatable)
    #[arg(long, value_name = "ID[=PATH]")]
    ssh: Vec<String>,
    #[command(flatten)]
    claims: ClaimArgs,
    /// Print only digests
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    progress: ProgressArgs,
    #[command(flatten)]
    jobs: JobsArgs,
    /// There are no builder instances: refused
    #[arg(long, hide = true)]
    builder: Option<String>,
    /// --print shows what would be built: refused
    #[arg(long, hide = true)]
    dry_run: bool,
    /// No cgroups are made: refused
    #[arg(short, long, hide = true)]
    memory: Option<String>,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl ComposeBuildArgs {
    /// Returns the kind of progress.
    pub(crate) fn progress(&self) -> ProgressMode {
        if self.quiet { ProgressMode::Quiet } else { self.progress.progress }
    }

    fn sets(&self, pushed: &[String]) -> Vec<String> {
        let mut sets: Vec<String> =
            self.build_arg.iter().map(|arg| format!("*.args.{arg}")).collect();
        sets.extend(self.ssh.iter().map(|agent| format!("*.ssh+={agent}")));
        let switches = [(self.no_cache, "no-cache"), (self.pull, "pull"), (self.load, "load")];
        let on = switches.iter().filter(|(is_on, _)| *is_on);
        sets.extend(on.map(|(_, key)| format!("*.{key}=true")));
        if self.check {
            sets.push("*.call=check".to_owned());
        }
        for (kind, value) in [("provenance", &self.claims.provenance), ("sbom", &self.claims.sbom)]
        {
            let value = value.as_ref().map(|value| attestation_shorthand(kind, value));
            sets.extend(value.map(|value| format!("*.attest={value}")));
        }
        if self.push {
            sets.extend(pushed.iter().map(|name| format!("{name}.push=true")));
        }
        sets
    }
}

/// Builds services, or prints what would be built.
pub(crate) fn run(args: &ComposeBuildArgs, console: &Arc<Console>) -> Result<(), Problem> {
    for (is_given, reason) in [
        (args.builder.is_some(), "--builder is not implemented: there are no builder instances"),
        (args.memory.is_some(), "--memory is not implemented: no cgroups are made"),
        (args.dry_run, "--dry-run is not implemented: --print shows what would be built"),
    ] {
        if is_given {
            return Err(Problem::command_line(reason));
        }
    }
    let Found { project, profiles, variables } = project::read(&args.project)?;
    console.warnings(&project.warnings);
    let wanted = wanted(args, &project, &profiles)?;
    if wanted.is_empty() {
        console.line("nothing to build: none of the services has a build");
        return Ok(());
    }
    let mut config = Config::default();
    let mut pushed = Vec::new();
    for service in &project.services {
        let Some(mut target) = service.target.clone() else { continue };
        let key = service.name.replace('.', "_");
        let image =
            service.image.clone().unwrap_or_else(|| format!("{}-{}", project.name, service.name));
        if service.image.is_some() {
            pushed.push(key.clone());
        }
        target.tags.get_or_insert_default().insert(0, image);
        config.targets.push((key, target));
    }
    let variable =
        |name: &str| environment::text_variable(name).or_else(|| variables.get(name).cloned());
    let overrides = Overrides::parse(&args.sets(&pushed), &config, &variable);
    let selection = overrides.and_then(|overrides| config.select(&wanted, &overrides));
    let selection = selection.map_err(bake_files::problem)?;
    if args.print {
        return console.result(selection.to_json().as_bytes());
    }
    let options = Options {
        progress: args.progress(),
        metadata_file: None,
        jobs: args.jobs.jobs,
        registries: &args.registries,
        store: &args.store,
    };
    bake_build::run(&selection, &options, console)
}

/// Returns the targets of the services that are asked for; none if none of them has a build.
fn wanted(
    args: &ComposeBuildArgs,
    project: &Project,
    profiles: &[String],
) -> Result<Vec<String>, Problem> {
    let is_on = |service: &Service| {
        let is_one = |profile: &String| profile == "*" || service.profiles.contains(profile);
        service.profiles.is_empty() || profiles.iter().any(is_one)
    };
    let find = |name: &str| project.services.iter().find(|service| service.name == name);
    let mut names: Vec<&str> = match args.services.is_empty() {
        true => project.services.iter().filter(|s| is_on(s)).map(|s| s.name.as_str()).collect(),
        false => args.services.iter().map(String::as_str).collect(),
    };
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut wanted = Vec::new();
    while let Some(name) = names.pop() {
        let missing = || Problem::command_line(format!("there is no service {name}"));
        let service = find(name).ok_or_else(missing)?;
        if !seen.insert(name.to_owned()) {
            continue;
        }
        if service.target.is_some() {
            wanted.push(name.replace('.', "_"));
        }
        if args.with_dependencies {
            names.extend(service.depends_on.iter().map(String::as_str));
        }
    }
    Ok(wanted)
}
