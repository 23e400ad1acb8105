//! The command line: subcommands and global options.

#[cfg(test)]
mod advice;
mod often;

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args as _, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    bake, build, cache, check, compose_build, config as config_command, copy, doctor, du,
    emulators, images, imagetools, index, inspect, load, lock, login, man, manifest, platforms,
    prune, pull, push, rmi, run, save, tag, verify,
};
use crate::config::{self, Refusal, Settings};
use crate::console::ProgressMode;
use crate::examples::with_examples;
use crate::foreign;
use crate::report::Problem;
use xbuild_wording::{Hint, hints, redacted};

/// Builds container images for many platforms from one Dockerfile: no daemon, no root, no setup.
#[derive(Debug, Parser)]
#[command(name = "xbuild", version = version(), after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) globals: GlobalArgs,
    /// The options whose values come from the configuration file or the environment, and what to say of
    /// that.
    #[arg(skip)]
    pub(crate) origins: Vec<(String, Hint)>,
}

/// The options of all commands.
#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Show steps, requests and their times on standard error; XBUILD_LOG=FILTER shows more or
    /// less, such as trace, or registry=debug,solve=info
    #[arg(short = 'D', long, global = true)]
    pub(crate) debug: bool,
}

/// Returns the version, and the commit that `make release` has built it from.
pub(crate) fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("XBUILD_COMMIT") {
        Some(commit) if !commit.is_empty() => format!("{version} ({commit})"),
        _ => version.to_owned(),
    }
}

/// The status of `xbuild run` if its own arguments are wrong, so that it is none of the command's.
const NOT_RUN: i32 = 125;

const EXIT_CODES: &str = "\
Exit status:
  0  success
  1  the Dockerfile, the build context or another input is wrong
  2  the command line is wrong
  3  a RUN step failed
  4  a registry refused, or could not be reached
  5  this machine cannot do what the build needs
  6  xbuild verify: the image is another one than is built
  70 a defect of xbuild, or a broken or full disk
xbuild run ends with the status of its command; with 125 if it could not run the command,
with 126 or 127 if the command cannot be executed or found.";

/// A subcommand with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image, or one image index for several platforms
    #[command(alias = "b")]
    Build(Box<build::BuildArgs>),
    /// Build an image again and show where the one that exists differs; status 6 if it does
    Verify(Box<verify::VerifyArgs>),
    /// Build the targets of bake files or compose files, as docker buildx bake does
    #[command(alias = "f")]
    Bake(Box<bake::BakeArgs>),
    /// Record the versions of base images, files and repositories for build --locked
    Lock(Box<lock::LockArgs>),
    /// Build the services of compose files, as docker compose build does
    ComposeBuild(Box<compose_build::ComposeBuildArgs>),
    /// Check a Dockerfile without building it
    Check(Box<check::CheckArgs>),
    /// Run a command in an image, for a look or a test; its status becomes that of xbuild
    Run(Box<run::RunArgs>),
    /// Show whether RUN steps can run here, why not, and what would help; status 5 if they cannot
    Doctor(doctor::DoctorArgs),
    /// Show what this machine can build, and how
    Platforms(platforms::PlatformsArgs),
    /// List, install and remove the emulators that run the programs of foreign platforms
    Emulators(emulators::EmulatorsArgs),
    /// Make, change and push indexes of images that exist
    Index(index::IndexArgs),
    /// The same, as docker buildx imagetools spells it
    Imagetools(imagetools::ImagetoolsArgs),
    /// The same, as docker manifest spells it: lists are in the store until they are pushed
    Manifest(manifest::ManifestArgs),
    /// Show an image or image index: manifests, configurations, layers
    Inspect(inspect::InspectArgs),
    /// List the images of the store
    Images(images::ImagesArgs),
    /// Give an image of the store further names
    Tag(tag::TagArgs),
    /// Take names from images of the store
    Rmi(rmi::RmiArgs),
    /// Bring an image from a registry into the store
    Pull(pull::PullArgs),
    /// Send an image of the store to a registry, as it is
    Push(push::PushArgs),
    /// Write images of the store as an archive
    Save(save::SaveArgs),
    /// Bring the images of an archive into the store
    Load(load::LoadArgs),
    /// Copy an image between the store, registries, layouts and archives, as it is
    Copy(copy::CopyArgs),
    /// Verify a login to a registry and keep it, where docker keeps it
    Login(login::LoginArgs),
    /// Forget the login to a registry
    Logout(login::LogoutArgs),
    /// List and prune shared caches, which builds read and write with --cache-from and --cache-to
    Cache(cache::CacheArgs),
    /// Show the size of the store
    Du(du::DuArgs),
    /// Remove cached results from the store
    Prune(prune::PruneArgs),
    /// Show and change the configuration file: defaults for the options of all commands
    Config(config_command::ConfigArgs),
    /// Print the version
    Version,
    /// Write manual pages of all commands
    Man(man::ManArgs),
    /// Print a script that lets a shell complete commands, options and their values
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Returns clap's definition of the command line.
pub(crate) fn definition() -> clap::Command {
    let command = Arguments::command().mut_subcommand("build", build::with_refused);
    let command = command.mut_subcommand("verify", build::with_refused);
    with_examples(command.mut_subcommand("lock", build::with_refused))
}

/// Returns the definition of the command that a line means, without the others, if it runs often.
fn alone(args: &[OsString]) -> Option<clap::Command> {
    let whole = clap::Command::new("xbuild").version(version());
    often::definition(GlobalArgs::augment_args(whole), args)
}

/// The commands with options of attestations.
const BUILDS: &[&str] = &["build", "b", "bake", "compose-build"];

/// Joins attestations with values that stand behind them, as `docker buildx build` takes both
/// `--provenance=false` and `--provenance false`. Elsewhere the value may be left out.
fn joined(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let is_value = |text: &str| {
        let is_list = text.contains('=') && !text.starts_with('-') && !text.contains('/');
        is_list || matches!(text, "true" | "false")
    };
    let mut joined: Vec<OsString> = Vec::new();
    let is_option = |arg: &OsString| arg.as_encoded_bytes().starts_with(b"-");
    for arg in args {
        let command = joined.iter().skip(1).find(|arg| !is_option(arg));
        let is_build = command.is_some_and(|command| BUILDS.iter().any(|build| command == build));
        match joined.last_mut() {
            Some(last)
                if (last == "--provenance" || last == "--sbom")
                    && is_build
                    && arg.to_str().is_some_and(is_value) =>
            {
                last.push("=");
                last.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// Reads a command line, with the defaults of the configuration file. Ends the program after help, and if
/// clap refuses the line.
pub(crate) fn read(
    args: impl IntoIterator<Item = OsString>,
    settings: &mut Settings,
) -> Result<Arguments, Problem> {
    let args = joined(args);
    // The names in a file are those of all commands.
    let alone = settings.list.is_empty().then(|| alone(&args)).flatten();
    let alone = alone.and_then(|definition| config::read(definition, &args, settings).ok());
    let mut line = match alone.map_or_else(|| config::read(definition(), &args, settings), Ok) {
        Ok(line) => line,
        Err(Refusal::Variable(problem)) => return Err(problem),
        Err(Refusal::Line(error)) => {
            match foreign::refused(&error, foreign::command(&args).as_ref()) {
                Some(problem) => return Err(problem),
                None => refuse(error, args),
            }
        }
    };
    let first = line.names.first().map(String::as_str);
    // These have no defaults, and work with a file that is wrong.
    if !matches!(first, Some("config" | "version" | "completions" | "man"))
        && let Some(fault) = settings.fault.take().or(line.fault.take())
    {
        return Err(fault.with_hint_unless(hints::config_shows_and_changes()));
    }
    if let Some(("build" | "verify" | "lock", matches)) = line.matches.subcommand() {
        build::refuse(matches)?;
    }
    let mut arguments = Arguments::from_arg_matches(&line.matches)
        .map_err(|error| Problem::command_line(error.to_string()))?;
    arguments.origins = origins(line, settings);
    Ok(arguments)
}

/// Returns where the values of options come from that are not on the command line.
fn origins(line: config::Line, settings: &Settings) -> Vec<(String, Hint)> {
    let option = |long: &str| format!("--{long}");
    let variables = line.variables.into_iter().map(|(long, name)| {
        let hint = hints::from_variable(option(&long), name);
        (long, hint)
    });
    let defaults = line.defaults.into_iter().map(|default| {
        let hint = hints::default_in_file(option(&default.long), settings.at(default.line));
        (default.long, hint)
    });
    // The environment counts before the file.
    variables.chain(defaults).collect()
}

/// Shows help, or why clap refuses a line, and ends the program.
fn refuse(error: clap::Error, args: Vec<OsString>) -> ! {
    // Help shows switches without values, and the defaults that are built in.
    let is_help = |error: &clap::Error| error.kind() == ErrorKind::DisplayHelp;
    let is_run = foreign::command(&args).is_some_and(|command| command == "run");
    let plain = is_help(&error).then(|| definition().try_get_matches_from(args).err()).flatten();
    let mut error = plain.filter(is_help).unwrap_or(error);
    suggest_shown_names(&mut error);
    redact(&mut error);
    // A closed pipe is not a failure.
    let _ = error.print();
    std::process::exit(match error.exit_code() {
        0 => 0,
        _ if is_run => NOT_RUN,
        status => status,
    });
}

/// Masks the passwords of URLs in what an error quotes.
fn redact(error: &mut clap::Error) {
    let texts = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) => Some((kind, redacted(text).into_owned())),
        _ => None,
    });
    for (kind, text) in texts.collect::<Vec<_>>() {
        error.insert(kind, ContextValue::String(text));
    }
}

/// Keeps only those suggestions of an error that are names which help shows.
fn suggest_shown_names(error: &mut clap::Error) {
    let known = definition();
    let is_shown = |name: &String| {
        let found = known.find_subcommand(name);
        found.is_none_or(|found| found.get_name_and_visible_aliases().contains(&&**name))
    };
    if let Some(ContextValue::Strings(names)) = error.get(ContextKind::SuggestedSubcommand) {
        let names: Vec<String> = names.iter().filter(|name| is_shown(name)).cloned().collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(names));
    }
}

impl Command {
    /// Returns how progress is shown.
    pub(crate) fn progress(&self) -> ProgressMode {
        match self {
            Self::Build(args) => args.progress(),
            Self::Verify(args) => args.build.progress(),
            Self::Lock(args) => args.build.progress(),
            Self::Pull(_) | Self::Push(_) | Self::Copy(_) => ProgressMode::Auto,
            Self::Bake(args) => args.progress(),
            Self::ComposeBuild(args) => args.progress(),
            _ => ProgressMode::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_attestation_may_stand_behind_it() {
        let join = |text: &str| {
            let args = text.split(' ').map(OsString::from);
            joined(args).join(&OsString::from(" ")).into_string().unwrap()
        };
        for (given, expected) in [
            ("xbuild build --provenance false .", "xbuild build --provenance=false ."),
            ("xbuild -D build --sbom a=b .", "xbuild -D build --sbom=a=b ."),
            ("xbuild build --provenance .", "xbuild build --provenance ."),
            ("xbuild build --sbom -t a=b", "xbuild build --sbom -t a=b"),
            (
                "xbuild build --sbom https://x.example/?a=b",
                "xbuild build --sbom https://x.example/?a=b",
            ),
            ("xbuild bake --sbom true app", "xbuild bake --sbom=true app"),
            ("xbuild bake --provenance app", "xbuild bake --provenance app"),
            ("xbuild run build sh --sbom a=b", "xbuild run build sh --sbom a=b"),
        ] {
            assert_eq!(join(given), expected);
        }
    }

    #[test]
    fn examples_are_lines_that_are_understood() {
        for line in crate::examples::lines() {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(args[0], "xbuild");
            let read = config::read(definition(), &args, &Settings::default());
            let matches = read.unwrap_or_else(|error| panic!("{line}: {error:?}")).matches;
            Arguments::from_arg_matches(&matches).unwrap();
        }
    }

    #[test]
    fn a_command_alone_is_as_in_the_whole_definition() {
        let mut whole = definition();
        whole.build();
        for name in often::names() {
            let mut alone = alone(&["xbuild".into(), name.into()]).unwrap();
            alone.build();
            let facts = |whole: &clap::Command| {
                let command = whole.find_subcommand(name).unwrap();
                let aliases: Vec<_> = command.get_all_aliases().map(str::to_owned).collect();
                let args = command.get_arguments().map(|arg| {
                    let arg = arg.clone().display_order(0);
                    format!("{arg:?}")
                });
                (aliases, args.collect::<Vec<_>>())
            };
            assert_eq!(facts(&alone), facts(&whole), "{name}");
        }
    }

    #[test]
    fn a_line_is_read_as_with_the_whole_definition() {
        for line in [
            "xbuild -D build --push=false --platform linux/arm64 -t a -t b .",
            "xbuild b --provenance --no-cache ctx --progress plain -D",
            "xbuild f app --set *.platform=linux/arm64",
            "xbuild run --network none -e A=b image sh -c -x",
        ] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let read = |definition| {
                let line = config::read(definition, &args, &Settings::default()).unwrap();
                let arguments = Arguments::from_arg_matches(&line.matches).unwrap();
                format!("{:?} {arguments:?}", line.names)
            };
            assert_eq!(read(alone(&args).unwrap()), read(definition()), "{line}");
        }
        for line in ["xbuild", "xbuild -D", "xbuild du", "xbuild nosuch build"] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(alone(&args).is_none(), "{line}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        definition().debug_assert();
    }
}
