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
    let packages = toml_lock::packages(text).ok_or(Unread::Malformed("lock file of Python"))?;
    Ok(packages.iter().map(|(name, version)| package(name, version)).collect())
}

/// Reads a lock file of pipenv.
pub(super) fn read_pipfile(text: &str) -> Result<Vec<Package>, Unread> {
    let lock: Value =
        serde_json::from_str(text).map_err(|_| Unread::Malformed("lock file of pipenv"))?;
    let groups = ["default", "develop"].into_iter().filter_map(|group| lock[group].as_object());
    let pinned = |(name, entry): (&String, &Value)| {
        Some(package(name, entry["version"].as_str()?.strip_prefix("==")?))
    };
    Ok(groups.flatten().filter_map(pinned).collect())
}

/// Reads the requirements that name one version.
pub(super) fn read_requirements(text: &str) -> Vec<Package> {
    let pinned = |line: &str| {
        let line = line.split([';', '#', ' ']).next()?;
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?.trim();
        let version = version.trim_matches(['=', '\\', ' ']);
        (!name.starts_with('-') && !version.contains('*')).then(|| package(name, version))
    };
    // Blanks around == are allowed.
    text.lines()
        .filter_map(|line| pinned(&line.replace(" ==", "==").replace("== ", "==")))
        .collect()
}

/// Reads the metadata of an installed package.
pub(super) fn read_metadata(text: &str) -> Vec<Package> {
    let head: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
    let field = |name: &str| head.iter().find_map(|line| value_of(line, name, ':'));
    let (Some(name), Some(version)) = (field("Name"), field("Version")) else { return Vec::new() };
    let license = field("License-Expression").or_else(|| field("License"));
    let license = license.map(str::to_owned).filter(|license| !license.is_empty());
    vec![Package { license, ..package(name, version) }]
}
