//! Lock files of npm, yarn and pnpm.
//!
//! **Source** — npm, `package-lock.json(5)`; yarn's lock file of version 1 and of Berry; pnpm's lock
//! file of versions 5 to 9.

use serde_json::{Map, Value};

use super::package::{Package, Unread, expect_marks, value_of};
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
    if !lock.is_object() {
        return Err(malformed());
    }
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
            let version = entry["version"].as_str();
            found.extend(version.and_then(|version| of_version_1(name, version)));
            ahead.extend(entry["dependencies"].as_object());
        }
    }
    Ok(found)
}

/// Returns a package of a lock file of version 1; `None` for a folder of the project.
fn of_version_1(name: &str, version: &str) -> Option<Package> {
    if version.starts_with("file:") {
        return None;
    }
    // A package under another name says its own.
    let alias = version.strip_prefix("npm:").and_then(|real| split_at_sign(real, str::rfind));
    Some(alias.map_or_else(|| package(name, version), |(real, version)| package(real, version)))
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
pub(super) fn read_yarn(text: &str) -> Result<Vec<Package>, Unread> {
    let mut found = Vec::new();
    let (mut name, mut is_lock) = (None, text.contains("# yarn lockfile v1"));
    for line in text.lines() {
        // Names that are long begin with a question mark, and their colon has a line of its own.
        let long = line.strip_prefix("? ");
        if line == ":" {
            continue;
        } else if long.is_some() || !line.starts_with([' ', '#']) && line.ends_with(':') {
            name = yarn_name(long.unwrap_or(line));
            is_lock |= name.is_some() || line.starts_with("__metadata:");
        } else if let Some(version) =
            value_of(line, "  version", ' ').or_else(|| value_of(line, "  version", ':'))
            && let Some(name) = name.take()
        {
            // Folders of the project have a version that says so.
            let version = version.trim_matches('"');
            found.extend((version != "0.0.0-use.local").then(|| package(name, version)));
        }
    }
    expect_marks(is_lock, text, "lock file of yarn")?;
    Ok(found)
}

/// Returns the name of the package of a line `"name@range", name@range:`; `None` for other lines.
fn yarn_name(line: &str) -> Option<&str> {
    let first = line.trim_end_matches(':').split(',').next()?.trim().trim_matches('"');
    let (name, range) = split_at_sign(first, str::find)?;
    // An alias has the name of the package in its range.
    let alias = range.strip_prefix("npm:").and_then(|real| split_at_sign(real, str::find));
    Some(alias.map_or(name, |(real, _)| real))
}

/// Splits at an `@` that does not begin the text.
fn split_at_sign(text: &str, find: fn(&str, char) -> Option<usize>) -> Option<(&str, &str)> {
    let at = find(text.get(1..)?, '@')? + 1;
    Some((&text[..at], &text[at + 1..]))
}

/// Reads pnpm's lock file: the keys of `packages` have names and versions. Where a key has the place of
/// an archive or a repository, lines below it do.
pub(super) fn read_pnpm(text: &str) -> Result<Vec<Package>, Unread> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let (mut is_lock, mut is_list, mut is_known) = (false, false, false);
    for line in text.lines() {
        if !line.starts_with(' ') && !line.is_empty() {
            is_list = line == "packages:";
            is_lock |= line.starts_with("lockfileVersion:");
        } else if !is_list {
            continue;
        } else if let Some(value) = line.strip_prefix("    ") {
            let value =
                |name| value_of(value, name, ':').map(|value| value.trim_matches(['\'', '"']));
            let last = found.last_mut().filter(|_| is_known);
            match (last, value("name"), value("version")) {
                (Some(last), Some(name), _) => last.0 = name,
                (Some(last), _, Some(version)) => last.1 = version,
                _ => {}
            }
        } else if let Some(key) = line.strip_prefix("  ").filter(|key| !key.is_empty()) {
            let named = pnpm_key(key);
            is_known = named.is_some();
            found.extend(named);
        }
    }
    expect_marks(is_lock, text, "lock file of pnpm")?;
    // A folder of the project has no version.
    let found = found.iter().filter(|(_, version)| !version.starts_with("file:"));
    Ok(found.map(|(name, version)| package(name, version)).collect())
}

/// Returns name and version of a key: `name@version` since version 6, `/name/version_peers` before, with the
/// host of another registry in front of it.
fn pnpm_key(key: &str) -> Option<(&str, &str)> {
    let key = key.split_once(": ").map_or(key, |(key, _)| key).trim_end_matches(':');
    let key = key.trim_matches(['\'', '"']).split('(').next()?;
    let (name, sign, rest) = pnpm_name(key.strip_prefix('/').unwrap_or(key))?;
    if sign == '@' {
        return Some((name, rest));
    }
    let has_host = !key.starts_with(['/', '@']);
    let (name, _, rest) = if has_host { pnpm_name(rest)? } else { (name, sign, rest) };
    Some((name, rest.split(['_', '/']).next()?))
}

/// Splits a key after the name, which may have a scope, at the sign `@` or `/`.
fn pnpm_name(key: &str) -> Option<(&str, char, &str)> {
    let begin = if key.starts_with('@') { key.find('/')? + 1 } else { 0 };
    let end = begin + key[begin..].find(['@', '/'])?;
    let sign = char::from(key.as_bytes()[end]);
    Some((&key[..end], sign, &key[end + 1..]))
}
