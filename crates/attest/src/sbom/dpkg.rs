//! The database of dpkg, whole or in parts.
//!
//! **Source** — `deb-control(5)`, `dpkg-query(1)` § Status, `dpkg(1)` § Package states.

use super::package::{Listing, Package};
use super::paragraphs;
use super::system::System;
use crate::Purl;

/// The states of packages whose files are there. Paragraphs without a state are those of images that
/// were put together without dpkg.
const PRESENT: &[&str] =
    &["", "installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending"];

/// Returns the packages whose files are there.
pub(super) fn read(text: &str, system: &System) -> Listing {
    paragraphs::read(text, |paragraph| {
        let field = |name: &str| paragraph.field(name);
        let state = field("Status").rsplit(' ').next().unwrap_or_default();
        PRESENT.contains(&state).then(|| {
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
    })
}
