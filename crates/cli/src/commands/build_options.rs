//! What the arguments of `xbuild build` mean.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use xbuild_model::run::Network;
use xbuild_model::{Platform, Reference};
use xbuild_plan::{NamedContext, PlanOptions};

use super::build_args::{BuildArgs, NetworkArg};
use crate::annotations::Annotations;
use crate::environment;
use crate::output::{self, Output};
use crate::report::Problem;

/// A build, as it was meant.
#[derive(Debug)]
pub(super) struct BuildOptions {
    /// What the planner is told.
    pub(super) plan: PlanOptions,
    /// The folders among the contexts, by name; the empty name is the main one.
    pub(super) folders: BTreeMap<String, PathBuf>,
    /// The names of the image.
    pub(super) names: Vec<Reference>,
    /// Where the result goes.
    pub(super) outputs: Vec<Output>,
    /// Whether to push under `names`.
    pub(super) push: bool,
    /// What manifests and index are annotated with.
    pub(super) annotations: Annotations,
    /// Steps at a time.
    pub(super) jobs: NonZeroUsize,
}

impl BuildOptions {
    /// Works out what was meant. Looks at the environment and whether folders exist, nothing else.
    pub(super) fn new(args: &BuildArgs) -> Result<Self, Problem> {
        let mut folders = BTreeMap::from([(String::new(), context_folder(&args.context)?)]);
        let contexts = named_contexts(&args.build_context, &mut folders)?;
        let outputs: Vec<Output> =
            args.output.iter().map(|text| output::parse(text)).collect::<Result<_, _>>()?;
        let mut names = references(&args.tag)?;
        for output in &outputs {
            if let Output::Image { names: more, .. } = output {
                names.extend(references(more)?);
            }
        }
        let push =
            args.push || outputs.iter().any(|o| matches!(o, Output::Image { push: true, .. }));
        if push && names.is_empty() {
            return Err(Problem::command_line("--push needs a name for the image")
                .with_hint("give it one with --tag"));
        }
        if let Some(name) = names.iter().find(|name| name.digest().is_some()) {
            return Err(Problem::command_line(format!("a tag cannot have a digest: {name}")));
        }
        let plan = PlanOptions {
            platforms: platforms(&args.platform)?,
            build_args: build_args(&args.build_arg),
            target: args.target.clone(),
            labels: key_values("label", &args.label)?,
            contexts,
            network: match args.network {
                NetworkArg::Default => Network::Default,
                NetworkArg::None => Network::None,
                NetworkArg::Host => Network::Host,
            },
            extra_hosts: args
                .add_host
                .iter()
                .map(|text| extra_host(text))
                .collect::<Result<_, _>>()?,
            ulimits: args.ulimit.iter().map(|text| ulimit(text)).collect::<Result<_, _>>()?,
            shm_size: match &args.shm_size {
                Some(text) => size(text)?,
                None => xbuild_plan::DEFAULT_SHM_SIZE,
            },
            ..PlanOptions::new(Platform::host())
        };
        let one = NonZeroUsize::MIN;
        Ok(Self {
            plan,
            folders,
            names,
            outputs,
            push,
            annotations: Annotations::parse(&args.annotation)?,
            jobs: args.jobs.unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(one)),
        })
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

fn references(names: &[String]) -> Result<Vec<Reference>, Problem> {
    let parse = |name: &String| {
        name.parse()
            .map_err(|error: xbuild_model::ReferenceError| Problem::command_line(error.to_string()))
    };
    names.iter().map(parse).collect()
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

fn key_values(option: &str, values: &[String]) -> Result<Vec<(String, String)>, Problem> {
    let parse = |text: &String| match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        None if option == "label" && !text.is_empty() => Ok((text.clone(), String::new())),
        _ => {
            Err(Problem::command_line(format!("invalid --{option} {text:?}: expected NAME=VALUE")))
        }
    };
    values.iter().map(parse).collect()
}

fn extra_host(text: &str) -> Result<(String, String), Problem> {
    let fail =
        |reason: &str| Problem::command_line(format!("invalid --add-host {text:?}: {reason}"));
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .ok_or_else(|| fail("expected NAME:ADDRESS"))?;
    let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if address == "host-gateway" {
        return Err(fail("host-gateway is not implemented: steps share the host's network"));
    }
    if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
        return Err(fail("the name is empty or has blanks"));
    }
    if address.parse::<std::net::IpAddr>().is_err() {
        return Err(fail("the address is no IP address"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

fn ulimit(text: &str) -> Result<(String, u64, u64), Problem> {
    let fail =
        || Problem::command_line(format!("invalid --ulimit {text:?}: expected NAME=SOFT[:HARD]"));
    let number = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        text => text.parse().map_err(|_| fail()),
    };
    let (name, limits) = text.split_once('=').ok_or_else(fail)?;
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let (soft, hard) = (number(soft)?, number(hard)?);
    if name.is_empty() || soft > hard {
        return Err(fail());
    }
    Ok((name.to_owned(), soft, hard))
}

fn size(text: &str) -> Result<u64, Problem> {
    let fail = || {
        Problem::command_line(format!(
            "invalid --shm-size {text:?}: expected a number with b, k, m or g"
        ))
    };
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(fail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_limits_and_sizes() {
        assert_eq!(extra_host("a:192.0.2.1").unwrap(), ("a".into(), "192.0.2.1".into()));
        assert_eq!(extra_host("b=[2001:db8::6]").unwrap(), ("b".into(), "2001:db8::6".into()));
        assert_eq!(extra_host("c:2001:db8::6").unwrap(), ("c".into(), "2001:db8::6".into()));
        for bad in ["a", "a:b", ":192.0.2.1", "a b:192.0.2.1", "a:host-gateway"] {
            assert!(extra_host(bad).is_err(), "{bad}");
        }
        assert_eq!(ulimit("nofile=333:444").unwrap(), ("nofile".into(), 333, 444));
        assert_eq!(ulimit("core=0").unwrap(), ("core".into(), 0, 0));
        assert!(ulimit("nofile=5:4").is_err());
        assert_eq!(size("8m").unwrap(), 8 << 20);
        assert_eq!(size("1024").unwrap(), 1024);
        assert!(size("m").is_err() && size("99999999999g").is_err() && size("5x").is_err());
    }

    #[test]
    fn refuses_foreign_systems() {
        assert!(platforms(&["windows/amd64".to_owned()]).is_err());
        assert_eq!(platforms(&["local".to_owned()]).unwrap(), [Platform::host()]);
    }
}
