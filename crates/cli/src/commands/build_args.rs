//! The arguments of `xbuild build`.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, ArgMatches, ValueEnum};

use xbuild_build::request::{Emulation, Isolation};
use xbuild_model::run::Network;

use super::call::Call;
use super::input::InputArgs;
use crate::build_options::{ClaimArgs, JobsArgs, MethodArgs, ProgressArgs};
use crate::console::ProgressMode;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use crate::switches::boolean;

/// The arguments of `xbuild build`, spelled as `docker buildx build` spells them.
#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    #[command(flatten)]
    pub(super) input: InputArgs,

    #[command(flatten, next_help_heading = "Input")]
    pub(super) method: MethodArgs,

    /// Name of the image (repeatable); with {arch}, {goarch} or {platform} in it, as in --file, a name
    /// for each platform's own image
    #[arg(short, long, value_name = "NAME[:TAG]", help_heading = "Result")]
    pub(super) tag: Vec<String>,
    /// Set a label of the image (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Result")]
    pub(super) label: Vec<String>,
    /// Set an annotation: [manifest|index|manifest-descriptor,..[[PLATFORM]]:]NAME=VALUE
    /// (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Result")]
    pub(super) annotation: Vec<String>,
    /// State in the index what the image has, or how it was built: type=sbom, or type=provenance[,mode=min|max][,version=v1|v0.2]
    /// [,builder-id=URI][,reproducible=true][,inline-only=true][,filename=NAME] (repeatable)
    #[arg(long, value_name = "ATTESTATION", help_heading = "Result")]
    pub(super) attest: Vec<String>,
    #[command(flatten, next_help_heading = "Result")]
    pub(super) claims: ClaimArgs,
    /// Push the image under its names
    #[arg(long, help_heading = "Result")]
    pub(super) push: bool,
    /// Load the image into docker, else podman: -o type=docker
    #[arg(long, help_heading = "Result")]
    pub(super) load: bool,
    /// Output: type=oci|docker|tar|local|image|registry|cacheonly,dest=PATH,.. (repeatable); oci,
    /// docker, image and registry take compression=gzip|zstd|uncompressed and compression-level=N for
    /// new layers, and force-compression=true to compress the layers of base images, too
    #[arg(short, long, value_name = "OUTPUT", help_heading = "Result")]
    pub(super) output: Vec<String>,
    /// Write the digests to a JSON file
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) metadata_file: Option<PathBuf>,
    /// Write the digest of the image, or of the index, to a file
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) iidfile: Option<PathBuf>,
    /// Write NAME@DIGEST of each name to a file, as kaniko does
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) image_name_with_digest_file: Option<PathBuf>,
    /// Write NAME:TAG@DIGEST of each name to a file, as kaniko does
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) image_name_tag_with_digest_file: Option<PathBuf>,
    /// Print only the digest
    #[arg(short, long, help_heading = "Result")]
    pub(super) quiet: bool,
    #[command(flatten, next_help_heading = "Result")]
    pub(super) progress: ProgressArgs,

    /// Write the log of the build to a file, too: every line of output, and why each step runs
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) log_file: Option<PathBuf>,
    /// Write a page of HTML that shows when each step ran, and why, also if the build fails
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub(super) timeline: Option<PathBuf>,

    /// Run every step, even if its result is in the cache
    #[arg(long, help_heading = "Steps")]
    pub(super) no_cache: bool,
    /// Run every step of these stages (comma list, repeatable)
    #[arg(long, value_name = "STAGE", value_delimiter = ',', help_heading = "Steps")]
    pub(super) no_cache_filter: Vec<String>,
    /// Cache to read (repeatable; asked in this order): type=registry,ref=NAME or
    /// type=local,src=FOLDER, with scope=NAME and verify=FILE, a public key that must have signed it
    #[arg(long, value_name = "CACHE", help_heading = "Steps")]
    pub(super) cache_from: Vec<String>,
    /// Cache to write (repeatable): type=registry,ref=NAME or type=local,dest=FOLDER, with scope=NAME,
    /// mode=min|max (min unless given), compression=gzip|zstd|uncompressed, compression-level=N, and
    /// sign=FILE, the private key that signs it
    #[arg(long, value_name = "CACHE", help_heading = "Steps")]
    pub(super) cache_to: Vec<String>,
    /// Cache that new cache mounts of RUN steps are filled from (repeatable), as with --cache-from
    #[arg(long, value_name = "CACHE", help_heading = "Steps")]
    pub(super) cache_mounts_from: Vec<String>,
    /// Cache that the cache mounts of RUN steps are written to (repeatable): type=registry,ref=NAME or
    /// type=local,dest=FOLDER, with scope=NAME, sign=FILE, and max-size=SIZE [default: 2g]
    #[arg(long, value_name = "CACHE", help_heading = "Steps")]
    pub(super) cache_mounts_to: Vec<String>,
    #[command(flatten, next_help_heading = "Steps")]
    pub(super) jobs: JobsArgs,
    /// Isolation of RUN steps: how they are walled off (userns-range, userns-single, userns-chroot,
    /// chroot), and the kind of their root file system (overlay, folder); `chroot=/` is the root of a
    /// container made for xbuild
    #[arg(long, value_parser = isolation(), default_value = "auto", hide_possible_values = true, value_name = "auto|none|RUNG[/ROOT]", help_heading = "Steps")]
    pub(super) isolation: Isolation,
    /// How programs of other processors get their emulator
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        env = "XBUILD_EMULATION",
        hide_env_values = true,
        help_heading = "Steps"
    )]
    pub(super) emulation: EmulationArg,
    /// The network of RUN steps
    #[arg(long, value_enum, default_value = "default", help_heading = "Steps")]
    pub(super) network: NetworkArg,
    /// End the build when a RUN step fails, or open a shell first
    #[arg(long, value_enum, default_value = "stop", help_heading = "Steps")]
    pub(super) on_error: OnErrorArg,
    /// Grant what RUN steps ask for (repeatable)
    #[arg(long, value_enum, value_name = "ENTITLEMENT", help_heading = "Steps")]
    pub(super) allow: Vec<Entitlement>,
    /// Add a line to /etc/hosts of RUN steps: NAME:ADDRESS or NAME=ADDRESS (repeatable)
    #[arg(long, value_name = "HOST", help_heading = "Steps")]
    pub(super) add_host: Vec<String>,
    /// Set a resource limit of RUN steps: NAME=SOFT[:HARD] (repeatable)
    #[arg(long, value_name = "LIMIT", help_heading = "Steps")]
    pub(super) ulimit: Vec<String>,
    /// Give a secret to RUN --mount=type=secret: id=ID[,src=FILE|,env=VARIABLE] (repeatable)
    #[arg(long, value_name = "SECRET", help_heading = "Steps")]
    pub(super) secret: Vec<String>,
    /// Give an SSH agent to RUN --mount=type=ssh: default or ID, which is the agent of
    /// SSH_AUTH_SOCK unless =SOCKET or =KEY[,KEY] follows (repeatable)
    #[arg(long, value_name = "ID[=PATH]", help_heading = "Steps")]
    pub(super) ssh: Vec<String>,
    /// Size of /dev/shm of RUN steps: bytes, or with a unit b, k, m, g
    #[arg(long, value_name = "SIZE", help_heading = "Steps")]
    pub(super) shm_size: Option<String>,

    /// Use the versions that the lock file has, and refuse sources that it lacks
    #[arg(long, help_heading = "Sources")]
    pub(super) locked: bool,
    /// The lock file [default: xbuild.lock in the build context]
    #[arg(long, value_name = "FILE", help_heading = "Sources")]
    pub(super) lock_file: Option<PathBuf>,
    /// A source policy of BuildKit, which allows, denies or converts images, files and repositories
    /// (repeatable)
    #[arg(
        long,
        value_name = "FILE",
        env = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY",
        hide_env_values = true,
        help_heading = "Sources"
    )]
    pub(super) source_policy_file: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) registries: RegistryArgs,
    #[command(flatten)]
    pub(super) store: StoreArgs,
}

impl BuildArgs {
    /// Returns the kind of progress.
    pub(crate) fn progress(&self) -> ProgressMode {
        if self.quiet { ProgressMode::Quiet } else { self.progress.progress }
    }

    /// Returns the files that the build writes beside its outputs.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let names = [&self.image_name_with_digest_file, &self.image_name_tag_with_digest_file];
        let logs = [&self.metadata_file, &self.iidfile, &self.log_file, &self.timeline];
        logs.into_iter().chain(names).filter_map(Option::as_deref)
    }

    /// Returns the method that `--call` and `--check` name.
    pub(super) fn call(&self) -> Result<Call, Problem> {
        let call = Call::parse(self.method.call.as_deref().unwrap_or("build"))?;
        match (self.method.check, &self.method.call) {
            (true, None) => Call::parse("check"),
            (true, Some(text)) if !matches!(call, Call::Check(..)) => {
                Err(Problem::command_line(format!("--check is not --call {text}")))
            }
            _ => Ok(call),
        }
    }
}

/// Returns the reader of `--isolation`, which knows all its values for completions and errors.
pub(super) fn isolation() -> impl TypedValueParser<Value = Isolation> {
    let names = Isolation::all().into_iter().map(|isolation| isolation.to_string());
    PossibleValuesParser::new(names.map(PossibleValue::new)).try_map(|text| text.parse())
}

/// The way in which programs of other processors get their emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EmulationArg {
    /// The first of the others that works
    Auto,
    /// A binfmt_misc that only the build sees (Linux 6.7)
    Binfmt,
    /// Interception of execve, on every kernel
    Intercept,
    /// The host's own binfmt_misc
    Host,
    /// As auto, and the distribution's cross compilers run in place of emulated ones (Debian 13)
    Cross,
    /// The first that works, and no program runs natively in place of a foreign one
    Qemu,
    /// As auto, then as qemu; each step must make the same layer both ways
    Verify,
    /// As cross, then as qemu
    VerifyCross,
}

/// The reaction to a RUN step that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnErrorArg {
    /// The build ends
    Stop,
    /// A shell in the place of the step, on this terminal; then the build ends
    Shell,
}

/// The network of RUN steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkArg {
    /// The host's
    Default,
    /// A loopback interface only
    None,
    /// The host's
    Host,
    /// One of its own for each step, joined to the host's by pasta
    Private,
}

impl From<EmulationArg> for Emulation {
    fn from(arg: EmulationArg) -> Self {
        match arg {
            EmulationArg::Auto => Self::Auto,
            EmulationArg::Binfmt => Self::Binfmt,
            EmulationArg::Intercept => Self::Intercept,
            EmulationArg::Host => Self::Host,
            EmulationArg::Cross => Self::Cross,
            EmulationArg::Qemu => Self::Qemu,
            EmulationArg::Verify => Self::Verify,
            EmulationArg::VerifyCross => Self::VerifyCross,
        }
    }
}

impl From<NetworkArg> for Network {
    fn from(arg: NetworkArg) -> Self {
        match arg {
            NetworkArg::Default => Self::Default,
            NetworkArg::None => Self::None,
            NetworkArg::Host => Self::Host,
            NetworkArg::Private => Self::Private,
        }
    }
}

/// A grant for RUN steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Entitlement {
    /// RUN --network=host, which needs no grant here
    #[value(name = "network.host")]
    NetworkHost,
    /// RUN --security=insecure: all capabilities in the build's user namespace, no system call
    /// filter, nothing of /proc hidden or read-only
    #[value(name = "security.insecure")]
    SecurityInsecure,
}

/// Switches of docker that scripts have, whose work is done in any case. Each may be turned off only if
/// that changes nothing; else with the reason.
const ALWAYS: &[(&str, Option<&str>)] = &[
    ("compress", None),
    ("force-rm", None),
    (
        "rm",
        Some("steps leave no containers behind; --on-error shell opens one where a step failed"),
    ),
];

/// Options of `docker buildx build` that are not implemented, each with the reason or a
/// replacement.
const REFUSED: &[(&str, &str)] = &[
    ("builder", "there are no builder instances: xbuild itself builds"),
    ("cgroup-parent", NO_CGROUPS),
    ("cpu-period", NO_CGROUPS),
    ("cpu-quota", NO_CGROUPS),
    ("cpu-shares", NO_CGROUPS),
    ("cpuset-cpus", NO_CGROUPS),
    ("cpuset-mems", NO_CGROUPS),
    ("memory", NO_CGROUPS),
    ("memory-swap", NO_CGROUPS),
    ("policy", "policies in Rego are not implemented; --source-policy-file takes those in JSON"),
    ("resource", NO_CGROUPS),
    ("security-opt", "use RUN --security=insecure with --allow security.insecure"),
    ("squash", "copy the result into a last stage instead: FROM scratch, COPY --from=STAGE / /"),
];

/// Why no limit on processor and memory can be set.
const NO_CGROUPS: &str = "no cgroups are made; limit xbuild itself, such as with systemd-run";

/// Returns why `xbuild build` refuses an option, if it does.
pub(crate) fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, reason)| *reason)
}

/// Single letters of refused options.
const SHORT: &[(&str, char)] = &[("cpu-shares", 'c'), ("memory", 'm')];

/// Adds the refused options and those that change nothing, hidden, to clap's command.
pub(crate) fn with_refused(mut command: clap::Command) -> clap::Command {
    for (name, reason) in REFUSED {
        let mut arg = Arg::new(*name).long(*name).hide(true).action(ArgAction::Append);
        // Read by the test that makes the page of options.
        arg = arg.help(format!("refused: {reason}"));
        if let Some((_, letter)) = SHORT.iter().find(|(long, _)| long == name) {
            arg = arg.short(*letter);
        }
        command = command.arg(arg.num_args(1).value_parser(clap::value_parser!(String)));
    }
    // The former spelling.
    command = command.mut_arg("call", |arg| arg.alias("print"));
    // A switch of docker's that is refused.
    command = command.mut_arg("squash", |arg| switch(arg.action(ArgAction::Set)));
    ALWAYS.iter().fold(command, |command, (name, _)| {
        let arg = Arg::new(*name).long(*name).hide(true);
        command.arg(switch(arg.help("accepted: it is so in any case")))
    })
}

/// Makes an argument a switch that may have a value.
fn switch(arg: Arg) -> Arg {
    let bool_like = clap::value_parser!(String);
    arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_parser(bool_like)
}

/// Refuses by name what is not implemented. Turning off squashing is granted.
pub(crate) fn refuse(matches: &ArgMatches) -> Result<(), Problem> {
    for (name, reason) in ALWAYS {
        match (matches.get_one::<String>(name).map(|value| boolean(value)), reason) {
            (None | Some(Ok(true)), _) | (Some(Ok(false)), None) => {}
            (Some(Ok(false)), Some(reason)) => {
                return Err(Problem::command_line(format!(
                    "--{name}=false is not implemented: {reason}"
                )));
            }
            (Some(Err(_)), _) => {
                return Err(Problem::command_line(format!(
                    "invalid --{name}: expected true or false"
                )));
            }
        }
    }
    for (name, reason) in REFUSED {
        let Some(values) = matches.get_occurrences::<String>(name) else { continue };
        let values: Vec<&String> = values.flatten().collect();
        let off =
            *name == "squash" && !values.is_empty() && values.iter().all(|value| *value == "false");
        if !off {
            return Err(Problem::command_line(format!("--{name} is not implemented: {reason}")));
        }
    }
    Ok(())
}
