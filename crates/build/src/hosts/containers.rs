//! `registries.conf` of podman, buildah and skopeo.
//!
//! **Source** — `containers-registries.conf(5)`, version 2.

use std::fs;
use std::path::{Path, PathBuf};

use toml::Value;

use xbuild_registry::{PrefixMirror, PrefixRule};
use xbuild_wording::quoted;

use super::gathered::{Fault, Gathered, Said, mirror, toml};

/// Reads the first file that is there, and the files in its folder `registries.conf.d`.
pub(super) fn read(paths: &[PathBuf], gathered: &mut Gathered, tell: &dyn Fn(&Path, Fault)) {
    let Some(path) = paths.iter().find(|path| path.exists()) else { return };
    let mut folder = path.clone().into_os_string();
    folder.push(".d");
    let entries = fs::read_dir(PathBuf::from(folder)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
    files.push(path.clone());
    // The last of them counts most.
    files[..].sort_by_key(|file| (file == path, std::cmp::Reverse(file.clone())));
    for file in files {
        match toml(&file) {
            Ok(Some(table)) => entries_of(&file, &table, gathered, tell),
            Ok(None) => {}
            Err(fault) => tell(&file, fault),
        }
    }
}

fn entries_of(
    path: &Path,
    table: &toml::Table,
    gathered: &mut Gathered,
    tell: &dyn Fn(&Path, Fault),
) {
    for entry in list(table.get("registry")) {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let location = text("location");
        let prefix = if text("prefix").is_empty() { location } else { text("prefix") };
        if !is_prefix(prefix) {
            let part = format!(
                "the registry {prefix} has no effect: no image has such a name",
                prefix = quoted(&prefix)
            );
            tell(path, Fault::Part(part));
            continue;
        }
        let is_moved = !location.is_empty() && location != prefix;
        let mirrors: Vec<PrefixMirror> =
            list(entry.get("mirror")).iter().map(|one| mirror_of(&entry, one)).collect();
        for (one, place) in list(entry.get("mirror")).iter().zip(&mirrors) {
            let said = Said { insecure: flag(one, "insecure"), ..Said::default() };
            gathered.add(&place.place.host, said);
        }
        let is_blocked = flag(&entry, "blocked").unwrap_or_default();
        let is_plain = mirrors.iter().all(|mirror| mirror.for_tags && mirror.for_digests);
        let mut said = Said { insecure: flag(&entry, "insecure"), ..Said::default() };
        if !prefix.contains('/') && !is_moved && !is_blocked && is_plain {
            said.mirrors = mirrors.into_iter().map(|mirror| mirror.place).collect();
            gathered.add(prefix, said);
            continue;
        }
        let location = is_moved.then(|| mirror(location).0);
        let host = location.as_ref().map_or(prefix, |location| &location.host);
        if host.contains('/') && said.insecure == Some(true) {
            let part = format!(
                "{prefix} cannot be insecure: only a whole registry can",
                prefix = quoted(&prefix)
            );
            tell(path, Fault::Part(part));
        } else {
            gathered.add(host, said);
        }
        let (host, rest) = prefix.split_once('/').unwrap_or((prefix, ""));
        let prefix = [&host.to_ascii_lowercase(), rest.trim_end_matches('/')].join("/");
        let prefix = prefix.trim_end_matches('/').to_owned();
        if gathered.prefixes.iter().all(|rule| rule.prefix != prefix) {
            gathered.prefixes.push(PrefixRule { prefix, location, mirrors, is_blocked });
        }
    }
}

fn list(value: Option<&Value>) -> Vec<Value> {
    value.and_then(Value::as_array).cloned().unwrap_or_default()
}

fn flag(entry: &Value, name: &str) -> Option<bool> {
    entry.get(name).and_then(Value::as_bool)
}

/// Returns whether names of images can begin like that: `HOST[:PORT][/PATH]`, or `*.DOMAIN`.
fn is_prefix(text: &str) -> bool {
    match text.strip_prefix("*.") {
        Some(domain) => !domain.is_empty() && !domain.contains(['*', '/']),
        None => !text.is_empty() && !text.contains('*') && !text.starts_with('/'),
    }
}

/// Returns a mirror of an entry.
fn mirror_of(entry: &Value, one: &Value) -> PrefixMirror {
    let text = |name: &str| one.get(name).and_then(Value::as_str).unwrap_or_default();
    let (place, _) = mirror(text("location"));
    let by_digest_only = flag(entry, "mirror-by-digest-only").unwrap_or_default();
    let (for_tags, for_digests) = match text("pull-from-mirror") {
        "digest-only" => (false, true),
        "tag-only" => (true, false),
        _ => (!by_digest_only, true),
    };
    PrefixMirror { place, for_tags, for_digests }
}
