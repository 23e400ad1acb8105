//! The arguments that name the input of a build, and their meaning.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::ValueEnum;
use xbuild_build::docker_config;
use xbuild_build::request::{ContextPlace, InputRequest, NamedPlace, Pull};
use xbuild_dockerfile::suggest;
use xbuild_model::{Platform, RemoteSource};
use xbuild_wording::{hints, quoted};

use crate::environment;
use crate::report::Problem;
use crate::values::{arg_files, context, dockerfiles};

/// The arguments of every subcommand that reads a Dockerfile.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// The build context: a folder, a tar archive, a URL of one, a git repository
    /// (URL[#REF[:FOLDER]]), or - for a Dockerfile or tar archive from standard input
    #[arg(value_name = "CONTEXT")]
    pub(super) context: PathBuf,

    /// The Dockerfile: a file, a URL, or - for standard input [default: CONTEXT/Dockerfile]. One for a
    /// single platform: PLATFORM=FILE; one for each: FILE with {arch} (amd64, arm32v7, arm64v8, i386
    /// ...), {goarch} or {platform} (linux-arm-v7) in its name (repeatable)
    #[arg(short, long, value_name = "[PLATFORM=]FILE", help_heading = "Input")]
    pub(super) file: Vec<PathBuf>,
    /// Set a build argument; without a value, to that of the environment variable (repeatable).
    /// SOURCE_DATE_EPOCH=context takes the time of a commit or a web server's file
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Input")]
    pub(super) build_arg: Vec<String>,
    /// A file of build arguments, NAME=VALUE in each line; --build-arg takes precedence (repeatable)
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    pub(super) build_arg_file: Vec<PathBuf>,
    /// A further context: NAME= and DIR, oci-layout://DIR[:TAG][@DIGEST], docker-image://REF, a git
    /// repository or the URL of a file (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Input")]
    pub(super) build_context: Vec<String>,
    /// Platforms to build for (comma list, repeatable) [default: this machine's]
    #[arg(
        long,
        value_name = "PLATFORM",
        value_delimiter = ',',
        env = "DOCKER_DEFAULT_PLATFORM",
        hide_env_values = true,
        help_heading = "Input"
    )]
    pub(super) platform: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE", help_heading = "Input")]
    pub(super) target: Option<String>,
    /// Ask the registry for base images: always, also for names that the store decides; if the store
    /// lacks them; never. Without it, unless a build here, a load or a tag gave the name
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "always", value_name = "always|missing|never", hide_possible_values = true, help_heading = "Input")]
    pub(super) pull: Option<PullArg>,
}

/// When a registry is asked what the name of an image stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PullArg {
    /// In any case
    #[value(alias = "true")]
    Always,
    /// If the store lacks the image
    Missing,
    /// Never
    Never,
    /// As without the option
    #[value(name = "false", hide = true)]
    False,
}

/// Returns the meaning of `--pull`.
pub(super) fn pull(arg: Option<PullArg>) -> Pull {
    match arg {
        None | Some(PullArg::False) => Pull::Default,
        Some(PullArg::Always) => Pull::Always,
        Some(PullArg::Missing) => Pull::Missing,
        Some(PullArg::Never) => Pull::Never,
    }
}

/// Returns the input of a request. Looks only at the environment, at Docker's configuration, and at
/// whether folders exist.
pub(super) fn request(args: &InputArgs) -> Result<InputRequest, Problem> {
    let mut texts = arg_files::read(&args.build_arg_file)?;
    texts.extend_from_slice(&args.build_arg);
    let mut build_args = build_args(&texts)?;
    let config = environment::docker_config();
    let host = environment::variable("DOCKER_HOST");
    let proxies = docker_config::proxy_args(config.as_deref(), host.as_deref());
    add_proxies(&mut build_args, proxies);
    let mut main = context::main(&args.context)?;
    if let ContextPlace::Remote(RemoteSource::Git(git)) = &mut main
        && keeps_git_dir(&build_args)
    {
        git.keep_git_dir = Some(true);
    }
    let asked = platforms(&args.platform).map_err(|problem| problem.of_option("platform"))?;
    let platform_is_implied = asked.is_empty();
    let platforms = if platform_is_implied { vec![Platform::host()] } else { asked };
    let dockerfiles = dockerfiles::parse(&args.file, &platforms)?;
    Ok(InputRequest {
        context: main,
        dockerfile: dockerfiles.shared,
        own_dockerfiles: dockerfiles.own,
        contexts: named_contexts(&args.build_context)?,
        build_args,
        platforms,
        platform_is_implied,
        target: args.target.clone(),
        pull: pull(args.pull),
    })
}

/// Returns whether a repository that is the main context keeps its `.git`.
fn keeps_git_dir(build_args: &[(String, String)]) -> bool {
    const KEEP: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";
    let value = build_args.iter().rfind(|(name, _)| name == KEEP);
    value.is_some_and(|(_, value)| {
        matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True")
    })
}

fn named_contexts(values: &[String]) -> Result<BTreeMap<String, NamedPlace>, Problem> {
    let mut contexts = BTreeMap::new();
    for (name, value) in key_values("build-context", values)? {
        let place = if value.starts_with("docker-image://") || value.starts_with("oci-layout://") {
            NamedPlace::Image(value)
        } else if value.starts_with("target:") {
            return Err(Problem::command_line(format!(
                "--build-context {name}={value}: target: is for the contexts of bake files"
            )));
        } else {
            context::named(&name, &value)?
        };
        // The last of a name counts.
        contexts.insert(name, place);
    }
    Ok(contexts)
}

/// Returns the platforms that were asked for; none if nobody did.
fn platforms(values: &[String]) -> Result<Vec<Platform>, Problem> {
    let parse = |text: &String| match text.trim() {
        "local" => Ok(Platform::host()),
        text => text
            .parse()
            .map_err(|error: xbuild_model::PlatformError| Problem::command_line(error.to_string())),
    };
    let list: Vec<Platform> = values.iter().map(parse).collect::<Result<_, _>>()?;
    // An image may be for a system that nobody here knows, too.
    let systems = Platform::SYSTEMS;
    if let Some(other) = list.iter().find(|platform| !systems.contains(&platform.os()))
        && suggest(other.os(), systems.iter().copied()).is_some()
    {
        let message = format!("unknown system {} in platform {other}", quoted(other.os()));
        let rest = other.to_string()[other.os().len()..].to_owned();
        return Err(Problem::command_line(message).did_you_mean(
            other.os(),
            systems.iter().copied(),
            &rest,
        ));
    }
    // An image may be for a processor that nobody here knows; a slip of typing is one that is nearly
    // known.
    let is_unknown =
        |platform: &&Platform| !Platform::ARCHITECTURES.contains(&platform.architecture());
    for other in list.iter().filter(is_unknown) {
        let architecture = other.architecture();
        if let Some(known) = suggest(architecture, Platform::ARCHITECTURES.iter().copied()) {
            let message = format!(
                "unknown architecture {architecture} in platform {other}",
                architecture = quoted(&architecture)
            );
            return Err(Problem::command_line(message)
                .with_hint(hints::did_you_mean(format_args!("{}/{known}", other.os()))));
        }
    }
    Ok(list)
}

/// Returns the build arguments with their values, without those of unset variables.
fn build_args(values: &[String]) -> Result<Vec<(String, String)>, Problem> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let mut list = Vec::new();
    for text in values {
        let Some((name, value)) = text.split_once('=') else {
            let Some(value) = environment::raw_variable(text) else { continue };
            let value = value.into_string().map_err(|_| {
                Problem::command_line(format!(
                    "invalid --build-arg {text}: the value of that environment variable is no text",
                    text = quoted(text)
                ))
            })?;
            list.push((text.clone(), value));
            continue;
        };
        list.push((name.to_owned(), value.to_owned()));
    }
    // As in buildx the epoch of the client is that of the build.
    if let Some(value) = environment::variable(EPOCH)
        && list.iter().all(|(name, _)| name != EPOCH)
    {
        list.push((EPOCH.to_owned(), value));
    }
    Ok(list)
}

/// Adds the proxies that no build argument gives in upper or lower case.
fn add_proxies(build_args: &mut Vec<(String, String)>, proxies: Vec<(String, String)>) {
    for (name, value) in proxies {
        if build_args.iter().all(|(given, _)| !given.eq_ignore_ascii_case(&name)) {
            build_args.push((name.to_ascii_lowercase(), value.clone()));
            build_args.push((name, value));
        }
    }
}

pub(super) fn key_values(
    option: &str,
    values: &[String],
) -> Result<Vec<(String, String)>, Problem> {
    let parse = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if option == "label" && !text.is_empty() => Ok((text.clone(), String::new())),
        _ => Err(Problem::command_line(format!(
            "invalid --{option} {text}: expected NAME=VALUE",
            text = quoted(&text)
        ))),
    };
    values.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_given_go_before_those_of_the_configuration() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut args = vec![pair("http_proxy", "")];
        add_proxies(&mut args, vec![pair("HTTP_PROXY", "a"), pair("NO_PROXY", "b")]);
        let all = [pair("http_proxy", ""), pair("no_proxy", "b"), pair("NO_PROXY", "b")];
        assert_eq!(args, all);
    }

    #[test]
    fn platforms_are_those_of_any_system() {
        assert_eq!(platforms(&["local".to_owned()]).unwrap(), [Platform::host()]);
        for (text, hint) in [
            ("linux/amd46", "did you mean linux/amd64?"),
            ("linx/amd64", "did you mean linux/amd64?"),
            ("linux/armm64/v8", "did you mean linux/arm64?"),
        ] {
            let problem = platforms(&[text.to_owned()]).unwrap_err().render();
            assert!(problem.contains(hint), "{problem}");
        }
        for text in ["linux/arm64be", "linux/mips64p32le", "linux/sparc64", "linux/elbrus"] {
            assert!(platforms(&[text.to_owned()]).is_ok(), "{text}");
        }
        assert_eq!(platforms(&["wasi/wasm".to_owned()]).unwrap()[0].os(), "wasi");
        assert!(platforms(&["linux/".to_owned()]).is_err());
    }
}
