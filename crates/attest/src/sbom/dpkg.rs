//! The database of dpkg, whole or in parts.
//!
//! **Source** — `deb-control(5)`, `dpkg-query(1)` § Status.

use super::package::{Package, value_of};
use super::system::System;
use crate::Purl;

/// Returns the packages that are installed. Paragraphs without a status are those of images that
/// were put together without dpkg.
pub(super) fn read(text: &str, system: &System) -> Vec<Package> {
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let field = |name: &str| {
            paragraph.lines().find_map(|line| value_of(line, name, ':')).unwrap_or_default()
        };
        let is_installed = matches!(field("Status").rsplit(' ').next(), Some("" | "installed"));
        is_installed.then(|| {
            let (name, version) = (field("Package"), field("Version"));
            let purl = Purl::new("deb", name, version).namespace(system.namespace("debian"));
            let purl = purl.qualifier("arch", field("Architecture"));
            Package {
                name: name.to_owned(),
                version: version.to_owned(),
                purl: purl.qualifier("distro", &system.distro()),
                license: None,
            }
        })
    });
    paragraphs.flatten().collect()
}
