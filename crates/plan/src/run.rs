//! RUN: the command and its surroundings.

use xbuild_dockerfile::{Keyword, Network, Run, RunBody, Security, Span};
use xbuild_model::run::{Network as RunNetwork, RunRequest, Script, Security as RunSecurity};

use crate::arguments::{self, Given, SANDBOX_HOSTNAME};
use crate::error::{PlanError, PlanErrorKind};
use crate::graph::VertexId;
use crate::history;
use crate::mount::Mounts;
use crate::options::{DEFAULT_HOSTNAME, PlanOptions};
use crate::paths;
use crate::state::State;

/// The folder of scripts, which RUN heredocs with `#!` become. It is below `/dev`, which is not
/// part of the image. The path is in the history and is the script's `$0`; both are BuildKit's.
const SCRIPTS: &str = "/dev/pipes";

/// The settings that all RUNs of a build share.
#[derive(Clone, Debug)]
pub(crate) struct RunDefaults {
    network: RunNetwork,
    allow_insecure: bool,
    extra_hosts: Vec<(String, String)>,
    ulimits: Vec<(String, u64, u64)>,
    shm_size: u64,
    hostname: String,
    proxies: Vec<(String, String)>,
}

impl RunDefaults {
    pub(crate) fn new(options: &PlanOptions, given: &Given<'_>) -> Self {
        let hostname = given.get(SANDBOX_HOSTNAME).copied().or(options.hostname.as_deref());
        RunDefaults {
            network: options.network,
            allow_insecure: options.allow_insecure,
            extra_hosts: options.extra_hosts.clone(),
            ulimits: options.ulimits.clone(),
            shm_size: options.shm_size,
            hostname: hostname.unwrap_or(DEFAULT_HOSTNAME).to_owned(),
            proxies: arguments::proxies(options),
        }
    }
}

/// Returns the request of a RUN, without its mounts.
///
/// **Errors**: `NotImplemented`, `Insecure`, `EmptyCommand`.
pub(crate) fn request(
    state: &State,
    run: &Run,
    span: &Span,
    defaults: &RunDefaults,
) -> Result<RunRequest, PlanError> {
    let error = |kind| Err(PlanError::new(kind, span));
    if let Some(device) = run.devices.first() {
        let feature = format!("RUN --device={}", device.name);
        return error(PlanErrorKind::NotImplemented { feature });
    }
    let security = match run.security {
        None | Some(Security::Sandbox) => RunSecurity::Sandbox,
        Some(Security::Insecure) if defaults.allow_insecure => RunSecurity::Insecure,
        Some(Security::Insecure) => return error(PlanErrorKind::Insecure),
    };
    let mut scripts = Vec::new();
    let argv = match run.body() {
        RunBody::Exec(arguments) => arguments.to_vec(),
        RunBody::Shell(text) => state.in_shell(text.into_owned()),
        RunBody::Script { name, text } => {
            let path = format!("{SCRIPTS}/{}", script_name(name));
            scripts.push(Script { path: path.clone(), contents: text.to_owned(), mode: 0o755 });
            state.in_shell(path)
        }
    };
    if argv.first().is_none_or(String::is_empty) {
        return error(PlanErrorKind::EmptyCommand { keyword: Keyword::Run });
    }
    let proxies = defaults.proxies.iter();
    Ok(RunRequest {
        argv,
        env: state.variables.iter().cloned().collect(),
        cwd: paths::clean(state.working_dir()),
        user: state.config.config.user.clone(),
        platform: state.programs.clone(),
        network: match run.network {
            None | Some(Network::Default) => defaults.network,
            Some(Network::None) => RunNetwork::None,
            Some(Network::Host) => RunNetwork::Host,
        },
        security,
        hostname: defaults.hostname.clone(),
        extra_hosts: defaults.extra_hosts.clone(),
        ulimits: defaults.ulimits.clone(),
        shm_size: defaults.shm_size,
        scripts,
        mounts: Vec::new(),
        // Variables that the Dockerfile declares or sets are part of the key, and replace these.
        unkeyed_env: proxies.filter(|(n, _)| state.variables.get(n).is_none()).cloned().collect(),
    })
}

/// Adds mounts to a request and returns the vertices that they take files from.
pub(crate) fn add_mounts(request: &mut RunRequest, mounts: Mounts) -> Vec<VertexId> {
    const AGENT: &str = "SSH_AUTH_SOCK";
    if let Some(path) = mounts.agent
        && request.env.iter().all(|(name, _)| name != AGENT)
    {
        request.env.push((AGENT.to_owned(), path));
    }
    request.mounts = mounts.list;
    mounts.sources
}

/// Returns the names of the variables whose values come from ARG.
pub(crate) fn arguments(state: &State) -> Vec<String> {
    let from_arg = |name: &&String| state.variables.get(name) != state.env.get(name);
    state.arguments.iter().filter(from_arg).cloned().collect()
}

/// Returns the history text of a RUN.
pub(crate) fn created_by(state: &State, request: &RunRequest) -> String {
    let value = |name: &String| state.variables.get(name).unwrap_or_default().to_owned();
    let arguments: Vec<(String, String)> =
        state.arguments.iter().map(|name| (name.clone(), value(name))).collect();
    history::run(&arguments, &request.argv)
}

/// Returns the delimiter if it is a plain name for a shell and as part of a path, else another
/// name.
fn script_name(delimiter: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    match delimiter.chars().all(plain) && !delimiter.starts_with(['.', '-']) {
        true if !delimiter.is_empty() => delimiter,
        _ => "script",
    }
}

#[cfg(test)]
mod tests {
    use super::script_name;

    #[test]
    fn delimiters_that_are_no_file_names_are_not_used() {
        for (delimiter, expected) in [
            ("EOF", "EOF"),
            ("a.b-c_1", "a.b-c_1"),
            ("two words", "script"),
            ("../../etc/x", "script"),
            ("..", "script"),
            ("$(x)", "script"),
            ("", "script"),
        ] {
            assert_eq!(script_name(delimiter), expected);
        }
    }
}
