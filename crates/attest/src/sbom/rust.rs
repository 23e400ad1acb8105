//! Lock files of cargo. **Source** — the Cargo book, § Cargo.toml vs Cargo.lock.

use super::package::{Package, Unread};
use super::toml_lock;
use crate::Purl;

/// Returns the crates.
pub(super) fn read(text: &str) -> Result<Vec<Package>, Unread> {
    let packages =
        toml_lock::packages(text, "package").ok_or(Unread::Malformed("lock file of cargo"))?;
    let package = |(name, version): (String, String)| Package {
        purl: Purl::new("cargo", &name, &version),
        name,
        version,
        license: None,
    };
    Ok(packages.into_iter().map(package).collect())
}
