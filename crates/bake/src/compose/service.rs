//! The `build` of a service to a target.
//!
//! **Source** — Compose Build Specification; buildx `docs/bake-reference.md` for `x-bake`.

use std::collections::BTreeMap;

use xbuild_wording::quoted;

use super::setting::Manner;
use super::yaml::{Node, Yaml};
use crate::config::once;
use crate::entries::{self, Secret, Ssh};
use crate::error::BakeError;
use crate::functions::{clean, sanitized};
use crate::local::is_local;
use crate::similar::{similar, suggestion};
use crate::target::Target;

/// The attributes of `build`.
const KNOWN: &[&str] = &[
    "additional_contexts",
    "args",
    "cache_from",
    "cache_to",
    "context",
    "dockerfile",
    "dockerfile_inline",
    "entitlements",
    "extra_hosts",
    "isolation",
    "labels",
    "network",
    "no_cache",
    "platforms",
    "privileged",
    "provenance",
    "pull",
    "sbom",
    "secrets",
    "shm_size",
    "ssh",
    "tags",
    "target",
    "ulimits",
];

/// The surroundings of a `build`.
pub(crate) struct Around<'a> {
    /// The secrets of the model.
    pub(crate) secrets: Option<&'a Node>,
    /// The variables for build arguments without value.
    pub(crate) environment: &'a dyn Fn(&str) -> Option<String>,
    /// Which command reads it.
    pub(crate) manner: Manner,
}

/// Makes a target of `build`.
pub(crate) fn target(build: &Node, around: &Around<'_>) -> Result<Target, BakeError> {
    let Yaml::Map(pairs) = &build.value else {
        return Err(build.fail("build: a folder or a mapping required"));
    };
    let mut target = Target::default();
    for (name, node) in pairs {
        match name.as_str() {
            "args" => {
                for (name, value) in mapping(node)? {
                    // The value that the environment has, if none is said.
                    let value = match value.value {
                        Yaml::Null => (around.environment)(&name),
                        _ => Some(text(&value)?),
                    };
                    if let Some(value) = value {
                        target.args.insert(name, Some(value));
                    }
                }
            }
            "secrets" => target.secret = Some(secret_list(node, around)?),
            "privileged" if around.manner == Manner::Compose && truth(node)? => {
                target.entitlements.get_or_insert_default().push("security.insecure".to_owned());
            }
            // They change nothing in bake either; x-bake follows.
            "isolation" | "privileged" => {}
            name if name.starts_with("x-") => {}
            name => set(&mut target, name, node)?,
        }
    }
    if let (Some(_), Some(inline)) = (&target.dockerfile, build.get("dockerfile_inline")) {
        return Err(inline.fail("build has both dockerfile and dockerfile_inline: drop one"));
    }
    if let Some(extension) = build.get("x-bake") {
        extend(&mut target, extension)?;
    }
    Ok(target)
}

/// Sets an attribute that depends on nothing else.
fn set(target: &mut Target, name: &str, node: &Node) -> Result<(), BakeError> {
    match name {
        "additional_contexts" => target.contexts = contexts(node)?,
        "cache_from" => target.cache_from = Some(each(node, entries::caches)?),
        "cache_to" => target.cache_to = Some(each(node, entries::caches)?),
        "context" => target.context = Some(place(&text(node)?)).filter(|path| !path.is_empty()),
        "dockerfile" => target.dockerfile = Some(text(node)?).filter(|path| !path.is_empty()),
        "dockerfile_inline" => target.dockerfile_inline = Some(text(node)?),
        "entitlements" => target.entitlements.get_or_insert_default().extend(list(node)?),
        "extra_hosts" => {
            for (name, value) in mapping(node)? {
                target.extra_hosts.insert(name, Some(list(&value)?.join(",")));
            }
        }
        "labels" => {
            for (name, value) in mapping(node)? {
                target.labels.insert(name, Some(text(&value)?));
            }
        }
        "network" => target.network = Some(text(node)?),
        "no_cache" => target.no_cache = truth(node)?.then_some(true),
        "platforms" => target.platforms = Some(list(node)?),
        "provenance" | "sbom" => {
            let attestation = entries::attestation(&entries::shorthand(name, &text(node)?));
            let attestation = attestation.map_err(|reason| node.fail(reason))?;
            target.attest.get_or_insert_default().push(attestation);
            // As buildx lists them.
            target.attest.iter_mut().for_each(|list| list.sort_by(|a, b| b.kind.cmp(&a.kind)));
        }
        "pull" => target.pull = truth(node)?.then_some(true),
        "shm_size" => target.shm_size = Some(size(node)?),
        "ssh" => target.ssh = Some(agents(node)?),
        "tags" => target.tags = Some(list(node)?),
        "target" => target.target = Some(text(node)?).filter(|stage| !stage.is_empty()),
        "ulimits" => target.ulimits = Some(ulimits(node)?),
        name => {
            let near = similar(name, KNOWN.iter().copied());
            let end = suggestion(near.as_deref());
            return Err(node.fail(format!("build has no attribute {name}{end}")));
        }
    }
    Ok(())
}

/// Adds what `x-bake` says.
fn extend(target: &mut Target, extension: &Node) -> Result<(), BakeError> {
    for (name, node) in mapping(extension)? {
        let texts = || words(&node);
        let entries_of = |texts: Vec<String>| {
            move |read: fn(&str) -> Result<Vec<entries::Options>, String>| {
                let mut all = Vec::new();
                for text in &texts {
                    all.extend(read(text)?);
                }
                Ok::<_, String>(all)
            }
        };
        let fail = |reason: String| node.fail(format!("x-bake: {name}: {reason}"));
        match name.as_str() {
            "tags" => add(&mut target.tags, texts()?),
            "platforms" => add(&mut target.platforms, texts()?),
            "no-cache-filter" => add(&mut target.no_cache_filter, texts()?),
            "cache-from" => {
                let more = entries_of(texts()?)(entries::caches).map_err(fail)?;
                target.cache_from.get_or_insert_default().extend(more);
            }
            "cache-to" => {
                let more = entries_of(texts()?)(entries::caches).map_err(fail)?;
                target.cache_to.get_or_insert_default().extend(more);
            }
            "output" => {
                let more =
                    entries_of(texts()?)(|text| Ok(vec![entries::output(text)?])).map_err(fail)?;
                target.output.get_or_insert_default().extend(more);
            }
            "secret" => {
                let more =
                    texts()?.iter().map(|text| Secret::parse(text)).collect::<Result<Vec<_>, _>>();
                target.secret.get_or_insert_default().extend(more.map_err(fail)?);
            }
            "ssh" => {
                let more = texts()?;
                let ssh = target.ssh.get_or_insert_default();
                ssh.extend(more.iter().map(|text| Ssh::parse(text)));
                ssh.sort();
            }
            "pull" => target.pull = Some(truth(&node)?),
            "no-cache" => target.no_cache = Some(truth(&node)?),
            "contexts" => {
                for (name, place) in contexts(&node)? {
                    target.contexts.entry(name).or_insert(place);
                }
            }
            _ => return Err(node.fail(format!("x-bake has no attribute {name}"))),
        }
    }
    Ok(())
}

fn add(own: &mut Option<Vec<String>>, more: Vec<String>) {
    let mut all = own.take().unwrap_or_default();
    all.extend(more);
    *own = Some(once(all));
}

fn text(node: &Node) -> Result<String, BakeError> {
    node.as_text().ok_or_else(|| node.fail("a string required"))
}

fn truth(node: &Node) -> Result<bool, BakeError> {
    let text = text(node)?;
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Ok(true),
        "false" | "no" | "off" | "n" | "0" | "" => Ok(false),
        _ => Err(node.fail(format!("{text} is no bool", text = quoted(&text)))),
    }
}

fn list(node: &Node) -> Result<Vec<String>, BakeError> {
    match &node.value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::List(nodes) => nodes.iter().map(text).collect(),
        _ => Err(node.fail("a list required")),
    }
}

/// Reads a list, or the words of a string.
fn words(node: &Node) -> Result<Vec<String>, BakeError> {
    match &node.value {
        Yaml::String(text) => Ok(text.split_whitespace().map(str::to_owned).collect()),
        _ => list(node),
    }
}

fn mapping(node: &Node) -> Result<Vec<(String, Node)>, BakeError> {
    match &node.value {
        Yaml::Null => Ok(Vec::new()),
        Yaml::Map(pairs) => Ok(pairs.clone()),
        _ => Err(node.fail("a mapping required")),
    }
}

fn each<T>(
    node: &Node,
    read: impl Fn(&str) -> Result<Vec<T>, String>,
) -> Result<Vec<T>, BakeError> {
    let mut all = Vec::new();
    for text in list(node)?.iter().filter(|text| !text.is_empty()) {
        all.extend(read(text).map_err(|reason| node.fail(reason))?);
    }
    Ok(all)
}

/// Returns a context: a path without `.` and `..` as far as possible, or what is no path as it is.
fn place(path: &str) -> String {
    match is_local(path) && !path.is_empty() {
        true => clean(path),
        false => path.to_owned(),
    }
}

fn contexts(node: &Node) -> Result<BTreeMap<String, String>, BakeError> {
    let named = mapping(node)?.into_iter().map(|(name, value)| {
        let path = text(&value)?;
        let other = path.strip_prefix("service:").or_else(|| path.strip_prefix("target:"));
        let path = match other {
            Some(other) => format!("target:{}", sanitized(&other.replace('.', "_"))),
            None => place(&path),
        };
        Ok((name, path))
    });
    named.collect()
}

fn secret_list(node: &Node, around: &Around<'_>) -> Result<Vec<Secret>, BakeError> {
    let Yaml::List(nodes) = &node.value else {
        return Err(node.fail("a list of secrets required"));
    };
    let mut all = Vec::new();
    for node in nodes {
        let source = match &node.value {
            Yaml::Map(_) => node.get("source").map(text).transpose()?,
            _ => Some(text(node)?),
        };
        let source = source.ok_or_else(|| node.fail("the source of the secret is missing"))?;
        let defined = around.secrets.and_then(|secrets| secrets.get(&source));
        let defined = defined.ok_or_else(|| node.fail(format!("there is no secret {source}")))?;
        if defined.get("external").is_some_and(|node| truth(node).unwrap_or(true)) {
            return Err(defined
                .fail(format!("secret {source} is external: only files and variables are here")));
        }
        let part = |name: &str| defined.get(name).map(text).transpose();
        let src = part("file")?.map(|path| clean(&path)).unwrap_or_default();
        // A file of steps has the name of the target; buildx knows only the source.
        let target = node.get("target").filter(|_| around.manner == Manner::Compose);
        let target = target.map(text).transpose()?.filter(|target| !target.is_empty());
        let id = target.unwrap_or(source);
        all.push(Secret { id, src, env: part("environment")?.unwrap_or_default() });
    }
    Ok(all)
}

fn agents(node: &Node) -> Result<Vec<Ssh>, BakeError> {
    let mut agents: Vec<Ssh> = match &node.value {
        Yaml::Map(pairs) => {
            let agents = pairs.iter().map(|(id, path)| {
                let path = text(path)?;
                let paths = if path.is_empty() { Vec::new() } else { vec![path] };
                Ok(Ssh { id: id.clone(), paths })
            });
            agents.collect::<Result<_, BakeError>>()?
        }
        _ => list(node)?.iter().map(|text| Ssh::parse(text)).collect(),
    };
    agents.sort();
    Ok(agents)
}

fn ulimits(node: &Node) -> Result<Vec<String>, BakeError> {
    let mut limits: Vec<String> = Vec::new();
    for (name, node) in mapping(node)? {
        let (soft, hard) = match &node.value {
            Yaml::Map(_) => {
                let part = |key: &str| {
                    let missing = || node.fail(format!("ulimits: {name}: {key} is missing"));
                    text(node.get(key).ok_or_else(missing)?)
                };
                (part("soft")?, part("hard")?)
            }
            _ => (text(&node)?, text(&node)?),
        };
        limits.push(format!("{name}={soft}:{hard}"));
    }
    limits.sort();
    Ok(limits)
}

/// Writes a size in the largest unit that it is a multiple of, if that is short enough.
fn size(node: &Node) -> Result<String, BakeError> {
    let text = text(node)?;
    let fail = || node.fail(format!("{text} is no size, such as 128m", text = quoted(&text)));
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    let factor: u64 = match lower[digits.len()..].trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(fail)?;
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let unit = units.iter().find(|(_, size)| bytes >= *size && bytes % size == 0);
    Ok(match unit {
        Some((unit, size)) if bytes / size < 10_000 => format!("{}{unit}", bytes / size),
        _ => format!("{bytes}"),
    })
}
