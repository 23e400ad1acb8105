//! Packages of Python: lock files, requirements, and what is installed.
//!
//! **Source** — PyPA specifications: core metadata, recording installed projects, version specifiers,
//! names and normalization.

use serde_json::Value;

use super::package::{Package, Unread, value_of};
use super::toml_lock;
use crate::Purl;

/// Returns a package of the index.
fn package(name: &str, version: &str) -> Package {
    let mut normal = name.to_lowercase().replace(['_', '.'], "-");
    while normal.contains("--") {
        normal = normal.replace("--", "-");
    }
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("pypi", &normal, version),
        license: None,
    }
}

/// Reads a lock file of poetry, uv or pdm.
pub(super) fn read_lock(text: &str) -> Result<Vec<Package>, Unread> {
    let found = toml_lock::packages(text, "package");
    let found = found.ok_or(Unread::Malformed("lock file of Python"))?;
    Ok(found.iter().map(|(name, version)| package(name, version)).collect())
}

/// Reads a `pylock.toml`. **Source** — PyPA specifications, `pylock.toml`.
pub(super) fn read_pylock(text: &str) -> Result<Vec<Package>, Unread> {
    let found = toml_lock::packages(text, "packages");
    let found = found.ok_or(Unread::Malformed("lock file of Python"))?;
    Ok(found.iter().map(|(name, version)| package(name, version)).collect())
}

/// Reads a lock file of pipenv: all members but `_meta` are groups of packages.
pub(super) fn read_pipfile(text: &str) -> Result<Vec<Package>, Unread> {
    let malformed = || Unread::Malformed("lock file of pipenv");
    let lock: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let groups = lock.as_object().ok_or_else(malformed)?;
    let groups = groups.iter().filter(|(name, _)| *name != "_meta");
    let groups = groups.filter_map(|(_, group)| group.as_object());
    let pinned = |(name, entry): (&String, &Value)| {
        Some(package(name, entry["version"].as_str()?.strip_prefix("==")?))
    };
    Ok(groups.flatten().filter_map(pinned).collect())
}

/// Reads the requirements that name one version.
pub(super) fn read_requirements(text: &str) -> Vec<Package> {
    text.lines().filter_map(pinned).collect()
}

/// Returns the package of a line `NAME[EXTRAS] == VERSION ; MARKER # COMMENT`, if it names one version.
fn pinned(line: &str) -> Option<Package> {
    let requirement = line.split([';', '#']).next()?;
    let (name, rest) = requirement.split_once("==")?;
    let name = name.split('[').next()?.trim();
    // Options may follow the version, or the mark of a line that goes on.
    let version = rest.trim_start_matches('=').split_whitespace().next()?.trim_end_matches('\\');
    let is_version = |c: char| c.is_ascii_alphanumeric() || "._-+!".contains(c);
    (is_name(name) && !version.is_empty() && version.chars().all(is_version))
        .then(|| package(name, version))
}

/// Returns whether a text may be the name of a package: no option, URL or other requirement.
fn is_name(text: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(is_end)
        && text.ends_with(is_end)
        && text.chars().all(|c| is_end(c) || "._-".contains(c))
}

/// Reads the metadata of an installed package.
pub(super) fn read_metadata(text: &str) -> Result<Vec<Package>, Unread> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let field = |name: &str| head.iter().find_map(|line| value_of(line, name, ':'));
    let (Some(name), Some(version)) = (field("Name"), field("Version")) else {
        return Err(Unread::Malformed("metadata of a package of Python"));
    };
    let license = field("License-Expression").or_else(|| field("License"));
    let license = license.map(str::to_owned).filter(|license| !license.is_empty());
    Ok(vec![Package { license, ..package(name, version) }])
}
