//! Packages of NuGet: its lock file, and the list of what a program of .NET was published with.
//!
//! **Source** — NuGet's documentation, § Locking dependencies; .NET's `runtime-configuration-file.md`,
//! § `.deps.json`.

use serde_json::Value;

use super::package::{Package, Unread};
use crate::Purl;

fn package(name: &str, version: &str) -> Package {
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("nuget", name, version),
        license: None,
    }
}

/// Reads `packages.lock.json`: packages by the framework that they are for. Projects are no packages.
pub(super) fn read_lock(text: &str) -> Result<Vec<Package>, Unread> {
    let malformed = || Unread::Malformed("lock file of NuGet");
    let lock: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let frameworks = lock["dependencies"].as_object().ok_or_else(malformed)?;
    let entries = frameworks.values().filter_map(Value::as_object).flatten();
    let found =
        entries.filter_map(|(name, entry)| Some(package(name, entry["resolved"].as_str()?)));
    Ok(found.collect())
}

/// Reads `NAME.deps.json`: names and versions of libraries, of which the packages count.
pub(super) fn read_deps(text: &str) -> Result<Vec<Package>, Unread> {
    let malformed = || Unread::Malformed("list of the libraries of a program of .NET");
    let list: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    let libraries = list["libraries"].as_object().ok_or_else(malformed)?;
    let packages = libraries.iter().filter(|(_, entry)| entry["type"] == "package");
    let found = packages.filter_map(|(key, _)| key.split_once('/'));
    Ok(found.map(|(name, version)| package(name, version)).collect())
}
