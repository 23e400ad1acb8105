//! Packages of composer: its lock file, and its list of what is installed.
//!
//! **Source** — composer's documentation, § Commit your composer.lock file, and the files that it
//! writes.

use serde_json::Value;

use super::package::{Package, Unread};
use crate::Purl;

/// Returns the packages.
pub(super) fn read(text: &str) -> Result<Vec<Package>, Unread> {
    let malformed = || Unread::Malformed("list of composer");
    let lock: Value = serde_json::from_str(text).map_err(|_| malformed())?;
    // Before version 2 what is installed is the list itself.
    let lists = [&lock, &lock["packages"], &lock["packages-dev"]];
    if !lists.iter().any(|list| list.is_array()) {
        return Err(malformed());
    }
    let entries = lists.into_iter().filter_map(Value::as_array).flatten();
    Ok(entries.filter_map(package).collect())
}

fn package(entry: &Value) -> Option<Package> {
    let (name, version) = (entry["name"].as_str()?, entry["version"].as_str()?);
    // **Source** — package URL specification, type `composer`: names are in lower case.
    let lower = name.to_lowercase();
    let (namespace, short) = lower.rsplit_once('/').unwrap_or(("", &lower));
    let license = &entry["license"];
    let several = license.as_array().into_iter().flatten().filter_map(Value::as_str);
    let licenses: Vec<&str> = license.as_str().into_iter().chain(several).collect();
    Some(Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("composer", short, version).namespace(namespace),
        license: Some(licenses.join(" OR ")).filter(|license| !license.is_empty()),
    })
}
