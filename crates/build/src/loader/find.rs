//! Finding the container engine of this machine.
//!
//! **Source** — docker CLI reference § Environment variables, § docker context: `DOCKER_HOST`, then
//! `DOCKER_CONTEXT`, then `currentContext` of the configuration, then the default socket.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use xbuild_model::{Cancel, Digest};
use xbuild_registry::{Daemon, DaemonError, DaemonPlace};
use xbuild_store::Store;

use super::engine::Loader;
use super::podman::Podman;
use crate::error::LoadError;
use crate::machine::Machine;

/// The socket of a docker that root runs.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// The socket of a podman that root runs.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";

/// Returns the engine that the user named, else one that answers: docker, podman.
pub(crate) fn find(
    machine: &Machine,
    store: &Arc<Store>,
    cancel: &Cancel,
) -> Result<Loader, LoadError> {
    if let Some(host) = named_host(machine)? {
        let place = place(machine, &host)?;
        let found = daemon(place, &host, cancel);
        return found.map_err(|source| LoadError::Unreachable { place: host, source });
    }
    let in_runtime = |name: &str| machine.runtime_folder.as_ref().map(|folder| folder.join(name));
    let docker = [Some(DOCKER_SOCKET.into()), in_runtime("docker.sock")];
    let podman = [in_runtime("podman/podman.sock"), Some(PODMAN_SOCKET.into())];
    let mut tried = Vec::new();
    let mut answering = |sockets: [Option<std::path::PathBuf>; 2]| {
        sockets.into_iter().flatten().filter(|socket| socket.exists()).find_map(|socket| {
            let shown = format!("unix://{}", socket.display());
            let found = daemon(DaemonPlace::Unix(socket), &shown, cancel);
            found.map_err(|error| tried.push(format!("{shown}: {}", reason(&error)))).ok()
        })
    };
    if let Some(docker) = answering(docker) {
        return Ok(docker);
    }
    if let Some(program) = xbuild_exec::find_program("podman", &machine.search_path) {
        return Ok(Loader::Podman(Podman::new(program, Arc::clone(store))));
    }
    answering(podman).ok_or(LoadError::NoEngine { tried })
}

/// Returns what is wrong in a few words.
fn reason(error: &DaemonError) -> String {
    match error {
        DaemonError::Unreachable { source } => source.to_string(),
        error => error.to_string(),
    }
}

/// Returns a daemon if it answers.
fn daemon(place: DaemonPlace, shown: &str, cancel: &Cancel) -> Result<Loader, DaemonError> {
    let daemon = Daemon::new(place, cancel.clone());
    let version = daemon.get("/version")?;
    let is_podman = version["Components"].to_string().contains("Podman");
    let engine = if is_podman { "podman" } else { "docker" };
    let api = version["ApiVersion"].as_str().and_then(api_version).unwrap_or_default();
    Ok(Loader::Daemon { daemon, name: format!("{engine} at {shown}"), is_podman, api })
}

/// Returns both numbers of a version of the API, such as `1.48`.
fn api_version(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the host that the environment or Docker's configuration names.
fn named_host(machine: &Machine) -> Result<Option<String>, LoadError> {
    if let Some(host) = &machine.docker_host {
        return Ok(Some(host.clone()));
    }
    let Some(config) = &machine.docker_config else { return Ok(None) };
    let current = || {
        let file: Value = serde_json::from_slice(&fs::read(config).ok()?).ok()?;
        Some(file["currentContext"].as_str()?.to_owned())
    };
    let Some(name) = machine.docker_context.clone().or_else(current) else { return Ok(None) };
    match name.as_str() {
        "" | "default" => Ok(None),
        _ => host_of(config, &name).map(Some),
    }
}

/// Returns the host of a context.
fn host_of(config: &Path, name: &str) -> Result<String, LoadError> {
    let fault = |reason: String| LoadError::Context { name: name.to_owned(), reason };
    let folder = config.parent().unwrap_or(Path::new("/")).join("contexts/meta");
    let file = folder.join(Digest::of(name.as_bytes()).hex()).join("meta.json");
    let bytes = fs::read(&file).map_err(|error| fault(format!("{}: {error}", file.display())))?;
    let meta: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    match meta["Endpoints"]["docker"]["Host"].as_str() {
        Some(host) => Ok(host.to_owned()),
        None => Err(fault(format!("{} has no Endpoints.docker.Host", file.display()))),
    }
}

/// Returns the place that a host names.
fn place(machine: &Machine, host: &str) -> Result<DaemonPlace, LoadError> {
    let refused = |reason| Err(LoadError::Host { host: host.to_owned(), reason });
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(DaemonPlace::Unix(path.into())),
        Some(("tcp", _)) if machine.docker_tls => {
            refused("TLS to a daemon (DOCKER_TLS_VERIFY) is not implemented")
        }
        Some(("tcp", address)) => Ok(DaemonPlace::Tcp(address.trim_end_matches('/').to_owned())),
        _ => refused("only unix:///PATH and tcp://HOST:PORT are implemented"),
    }
}
