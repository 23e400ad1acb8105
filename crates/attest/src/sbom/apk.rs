//! The database of apk.
//!
//! **Source** — Alpine wiki, "Apk spec" § Installed Database.

use super::package::{Package, value_of};
use super::system::System;
use crate::Purl;

/// Returns the packages.
pub(super) fn read(text: &str, system: &System) -> Vec<Package> {
    let package = |paragraph: &str| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| value_of(line, name, ':')).unwrap_or_default()
        };
        let (name, version) = (field("P"), field("V"));
        let purl = Purl::new("apk", name, version).namespace(system.namespace("alpine"));
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: purl.qualifier("arch", field("A")).qualifier("distro", &system.distro()),
            license: Some(field("L").to_owned()).filter(|license| !license.is_empty()),
        }
    };
    text.split("\n\n").map(package).collect()
}
