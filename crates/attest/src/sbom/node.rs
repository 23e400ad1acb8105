//! Lock files of npm, yarn and pnpm.
//!
//! **Source** — npm, `package-lock.json(5)`; yarn's lock file of version 1 and of Berry; pnpm's lock
//! file of versions 5 to 9.

use serde_json::{Map, Value};

use super::package::{Package, Unread, value_of};
use crate::Purl;

const FOLDER: &str = "node_modules/";

/// Returns a package of npm's registry.
fn package(name: &str, version: &str) -> Package {
    let (namespace, short) = match name.split_once('/') {
        Some((scope, short)) if scope.starts_with('@') => (scope, short),
        _ => ("", name),
    };
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("npm", short, version).namespace(namespace),
        license: None,
    }
}

/// Reads npm's lock file: `packages` by their folders, or `dependencies` within each other before
/// version 2.
pub(super) fn read_npm(text: &str) -> Result<Vec<Package>, Unread> {
    let malformed = || Unread::Malformed("lock file of npm");
    let lock: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    if let Some(packages) = lock["packages"].as_object() {
        return Ok(packages
            .iter()
            .filter_map(|(folder, entry)| in_folder(folder, entry))
            .collect());
    }
    let mut found = Vec::new();
    let mut ahead: Vec<&Map<String, Value>> =
        lock["dependencies"].as_object().into_iter().collect();
    while let Some(list) = ahead.pop() {
        for (name, entry) in list {
            if let Some(version) = entry["version"].as_str() {
                found.push(package(name, version));
            }
            ahead.extend(entry["dependencies"].as_object());
        }
    }
    Ok(found)
}

/// Returns the package in a folder; `None` for the project itself and for links to folders of it.
fn in_folder(folder: &str, entry: &Value) -> Option<Package> {
    let (_, name) = folder.rsplit_once(FOLDER)?;
    if entry["link"] == true {
        return None;
    }
    // A package under another name says its own.
    let name = entry["name"].as_str().unwrap_or(name);
    let license = entry["license"].as_str().map(str::to_owned);
    Some(Package { license, ..package(name, entry["version"].as_str()?) })
}

/// Reads yarn's lock file: a line with names and ranges, and below it the version.
pub(super) fn read_yarn(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            name = yarn_name(line);
        } else if let Some(version) =
            value_of(line, "  version", ' ').or_else(|| value_of(line, "  version", ':'))
            && let Some(name) = name.take()
        {
            found.push(package(name, version.trim_matches('"')));
        }
    }
    found
}

/// Returns the name of the package of a line `"name@range", name@range:`; `None` for a part of the
/// project.
fn yarn_name(line: &str) -> Option<&str> {
    let first = line.trim_end_matches(':').split(',').next()?.trim().trim_matches('"');
    let (name, range) = split_at_sign(first, str::find)?;
    if range.starts_with("workspace:") {
        return None;
    }
    // An alias has the name of the package in its range.
    let alias = range.strip_prefix("npm:").and_then(|real| split_at_sign(real, str::find));
    Some(alias.map_or(name, |(real, _)| real))
}

/// Splits at an `@` that does not begin the text.
fn split_at_sign(text: &str, find: fn(&str, char) -> Option<usize>) -> Option<(&str, &str)> {
    let at = find(text.get(1..)?, '@')? + 1;
    Some((&text[..at], &text[at + 1..]))
}

/// Reads pnpm's lock file: the keys of `packages` have names and versions.
pub(super) fn read_pnpm(text: &str) -> Vec<Package> {
    let lines = text.lines().skip_while(|line| *line != "packages:").skip(1);
    let lines = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let keys = lines.filter_map(|line| {
        let key = line.strip_prefix("  ").filter(|key| !key.starts_with(' '))?;
        let key = key.split_once(": ").map_or(key, |(key, _)| key).trim_end_matches(':');
        Some(key.trim_matches(['\'', '"']).trim_start_matches('/'))
    });
    keys.filter_map(|key| {
        let key = key.split('(').next()?;
        if let Some((name, version)) = split_at_sign(key, str::rfind) {
            return Some(package(name, version));
        }
        // Before version 6: name/version_peers.
        let (name, version) = key.rsplit_once('/')?;
        Some(package(name, version.split('_').next()?))
    })
    .collect()
}
