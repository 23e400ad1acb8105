//! What is built from: what can be typed to say it, and what that means.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xbuild_model::Platform;
use xbuild_plan::{NamedContext, PlanOptions};

use crate::environment;
use crate::report::Problem;

/// The arguments that say what is built from, of every subcommand that reads a Dockerfile.
#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// The build context: a folder
    #[arg(value_name = "CONTEXT")]
    pub(super) context: PathBuf,

    /// The Dockerfile [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "FILE", help_heading = "Input")]
    pub(super) file: Option<PathBuf>,
    /// Set a build argument; without a value, to that of the environment variable (repeatable)
    #[arg(long, value_name = "NAME[=VALUE]", help_heading = "Input")]
    pub(super) build_arg: Vec<String>,
    /// A further context: NAME=DIR, NAME=oci-layout://DIR[:TAG] or NAME=docker-image://REF (repeatable)
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Input")]
    pub(super) build_context: Vec<String>,
    /// Platforms to build for (comma list, repeatable) [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', help_heading = "Input")]
    pub(super) platform: Vec<String>,
    /// The stage to build [default: the last]
    #[arg(long, value_name = "STAGE", help_heading = "Input")]
    pub(super) target: Option<String>,
    /// Resolve base images anew (xbuild always does)
    #[arg(long, help_heading = "Input")]
    pub(super) pull: bool,
}

/// What a Dockerfile is read with.
#[derive(Debug)]
pub(super) struct InputOptions {
    /// What the planner is told.
    pub(super) plan: PlanOptions,
    /// The folders among the contexts, by name; the empty name is the main one.
    pub(super) folders: BTreeMap<String, PathBuf>,
}

impl InputOptions {
    /// Works out what was meant. Looks at the environment and whether folders exist, nothing else.
    pub(super) fn new(args: &InputArgs) -> Result<Self, Problem> {
        let mut folders = BTreeMap::from([(String::new(), context_folder(&args.context)?)]);
        let contexts = named_contexts(&args.build_context, &mut folders)?;
        let plan = PlanOptions {
            platforms: platforms(&args.platform)?,
            build_args: build_args(&args.build_arg),
            target: args.target.clone(),
            contexts,
            ..PlanOptions::new(Platform::host())
        };
        Ok(Self { plan, folders })
    }
}

fn context_folder(path: &Path) -> Result<PathBuf, Problem> {
    let text = path.to_string_lossy();
    if text == "-" {
        return Err(Problem::command_line("a context from standard input is not implemented yet"));
    }
    let remote = ["git@", "git://", "http://", "https://", "ssh://"];
    if remote.iter().any(|scheme| text.starts_with(scheme)) && !path.exists() {
        return Err(Problem::command_line(format!(
            "remote contexts (git, URL) are not implemented yet: {text}"
        )));
    }
    folder(path)
        .map_err(|reason| Problem::input(format!("the build context {} {reason}", path.display())))
}

fn folder(path: &Path) -> Result<PathBuf, String> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => std::path::absolute(path).map_err(|e| e.to_string()),
        Ok(_) => Err("is not a folder".to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err("is not found".to_owned())
        }
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

fn named_contexts(
    values: &[String],
    folders: &mut BTreeMap<String, PathBuf>,
) -> Result<BTreeMap<String, NamedContext>, Problem> {
    let mut contexts = BTreeMap::new();
    for (name, value) in key_values("build-context", values)? {
        let context = if value.starts_with("docker-image://") || value.starts_with("oci-layout://")
        {
            NamedContext::Image(value)
        } else if value.contains("://") || value.starts_with("git@") || value.starts_with("target:")
        {
            return Err(Problem::command_line(format!(
                "--build-context {name}={value}: only folders, docker-image:// and oci-layout:// are implemented"
            )));
        } else {
            let path = folder(Path::new(&value)).map_err(|reason| {
                Problem::input(format!("the build context {name}={value} {reason}"))
            })?;
            folders.insert(name.clone(), path);
            NamedContext::Folder
        };
        if !matches!(context, NamedContext::Folder) {
            folders.remove(&name);
        }
        contexts.insert(name, context);
    }
    Ok(contexts)
}

fn platforms(values: &[String]) -> Result<Vec<Platform>, Problem> {
    let parse = |text: &String| match text.trim() {
        "local" => Ok(Platform::host()),
        text => text
            .parse()
            .map_err(|error: xbuild_model::PlatformError| Problem::command_line(error.to_string())),
    };
    let mut list: Vec<Platform> = values.iter().map(parse).collect::<Result<_, _>>()?;
    if list.is_empty() {
        let default = environment::variable("DOCKER_DEFAULT_PLATFORM");
        list = default.iter().map(parse).collect::<Result<_, _>>()?;
    }
    if list.is_empty() {
        list.push(Platform::host());
    }
    if let Some(other) = list.iter().find(|platform| platform.os() != "linux") {
        return Err(Problem::command_line(format!(
            "platform {other} is not supported: only linux images are built"
        )));
    }
    Ok(list)
}

/// Returns the build arguments with values; those taken from an unset variable are left out.
fn build_args(values: &[String]) -> Vec<(String, String)> {
    const EPOCH: &str = "SOURCE_DATE_EPOCH";
    let mut list: Vec<(String, String)> = values
        .iter()
        .filter_map(|text| match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => std::env::var(text).ok().map(|value| (text.clone(), value)),
        })
        .collect();
    // As buildx does: the client's epoch is the build's.
    if let Some(value) = environment::variable(EPOCH)
        && list.iter().all(|(name, _)| name != EPOCH)
    {
        list.push((EPOCH.to_owned(), value));
    }
    list
}

pub(super) fn key_values(
    option: &str,
    values: &[String],
) -> Result<Vec<(String, String)>, Problem> {
    let parse = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if option == "label" && !text.is_empty() => Ok((text.clone(), String::new())),
        _ => {
            Err(Problem::command_line(format!("invalid --{option} {text:?}: expected NAME=VALUE")))
        }
    };
    values.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_foreign_systems() {
        assert!(platforms(&["windows/amd64".to_owned()]).is_err());
        assert_eq!(platforms(&["local".to_owned()]).unwrap(), [Platform::host()]);
    }
}
