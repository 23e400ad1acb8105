//! What targets may do that a bake file of somebody else should not do unasked: read and write outside of
//! the folder, run insecure steps, use the SSH agent.
//!
//! **Source** — buildx `docs/reference/buildx_bake.md` § --allow.

use std::path::{Component, Path, PathBuf};

use xbuild_bake::{Selection, Target, is_local_path};
use xbuild_wording::{hints, quoted};

use crate::environment;
use crate::report::Problem;

/// What the user grants.
#[derive(Debug, Clone, Default)]
struct Granted {
    /// RUN `--security=insecure`.
    insecure: bool,
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
}

/// Fails unless the user grants all that the targets ask for.
pub(super) fn check(selection: &Selection, allow: &[String]) -> Result<(), Problem> {
    let granted = parse(allow, selection)?;
    let mut missing: Vec<String> = Vec::new();
    for target in selection.targets.values() {
        for flag in lacks(target, &granted)? {
            if !missing.contains(&flag) {
                missing.push(flag);
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let flags: Vec<String> = missing.iter().map(|flag| format!("--allow {flag}")).collect();
    let message = "the targets ask for more than a bake file may do unasked";
    Err(Problem::command_line(format!("{message}: {}", missing.join(", ")))
        .with_hint(hints::add_flags(flags.join(" "))))
}

fn parse(allow: &[String], selection: &Selection) -> Result<Granted, Problem> {
    let mut granted = Granted::default();
    granted.read.push(real("."));
    granted.write.push(real("."));
    for path in &selection.given_paths {
        granted.read.push(real(path));
        granted.write.push(real(path));
    }
    for text in allow {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        let path = || if value == "*" { PathBuf::from("/") } else { real(value) };
        match (key, value) {
            // RUN --network=host needs no grant here. The agent of the user is asked for keys by name.
            ("network.host" | "ssh", "") => {}
            ("security.insecure", "") => granted.insecure = true,
            ("fs", value) if !value.is_empty() => {
                granted.read.push(path());
                granted.write.push(path());
            }
            ("fs.read", value) if !value.is_empty() => granted.read.push(path()),
            ("fs.write", value) if !value.is_empty() => granted.write.push(path()),
            ("device", _) => {
                return Err(refused(text, "devices of the host are not given to steps"));
            }
            ("image" | "image.load" | "image.push", _) => {
                return Err(refused(text, "images need no grant"));
            }
            _ => {
                let known =
                    "network.host, security.insecure, ssh, fs=PATH, fs.read=PATH, fs.write=PATH";
                let message =
                    format!("invalid --allow {text}: expected {known}", text = quoted(&text));
                return Err(Problem::command_line(message));
            }
        }
    }
    Ok(granted)
}

fn refused(text: &str, reason: &str) -> Problem {
    Problem::command_line(format!("--allow {text} is not implemented: {reason}"))
}

/// Returns the grants that a target lacks.
fn lacks(target: &Target, granted: &Granted) -> Result<Vec<String>, Problem> {
    let mut missing = Vec::new();
    for entitlement in target.entitlements.iter().flatten() {
        match entitlement.as_str() {
            "network.host" => {}
            "security.insecure" if granted.insecure => {}
            "security.insecure" => missing.push(entitlement.clone()),
            other => {
                let message = format!("entitlement {other} is not implemented");
                return Err(Problem::input(message));
            }
        }
    }
    if environment::variable("BUILDX_BAKE_ENTITLEMENTS_FS").as_deref() == Some("0") {
        return Ok(missing);
    }
    let mut read: Vec<&str> = Vec::new();
    read.extend(target.context.as_deref());
    read.extend(target.contexts.values().map(String::as_str));
    read.extend(target.secret.iter().flatten().map(|secret| secret.src.as_str()));
    read.extend(target.ssh.iter().flatten().flat_map(|ssh| ssh.paths.iter().map(String::as_str)));
    let outputs = target.output.iter().flatten();
    let write = outputs.filter_map(|output| output.attributes.get("dest")).map(String::as_str);
    for (paths, roots, key) in
        [(read, &granted.read, "fs.read"), (write.collect(), &granted.write, "fs.write")]
    {
        let local = paths.into_iter().filter(|path| {
            let is_layout = path.starts_with("oci-layout://") || path.starts_with("cwd://");
            (is_layout || is_local_path(path)) && !matches!(*path, "" | "-")
        });
        let outside =
            local.map(real).filter(|path| !roots.iter().any(|root| path.starts_with(root)));
        missing.extend(outside.map(|path| format!("{key}={}", path.display())));
    }
    Ok(missing)
}

/// Returns the absolute path that a path leads to. What is not there yet has no links, so `..` in it is
/// the folder above.
fn real(path: impl AsRef<Path>) -> PathBuf {
    let path = path.as_ref();
    let text = path.to_str().unwrap_or_default();
    let path = match (text.strip_prefix("cwd://"), text.strip_prefix("oci-layout://")) {
        (Some(path), _) => Path::new(path),
        // A tag or digest may follow.
        (_, Some(layout)) => Path::new(layout.split(['@', ':']).next().unwrap_or(layout)),
        _ => path,
    };
    let mut real = std::env::current_dir().unwrap_or_default();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = real.pop(),
            Component::CurDir => {}
            part => real.push(part),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    real
}
