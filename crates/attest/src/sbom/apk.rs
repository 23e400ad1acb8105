//! The database of apk.
//!
//! **Source** — Alpine wiki, "Apk spec" § Installed Database.

use super::package::{Listing, Package};
use super::paragraphs;
use super::system::System;
use crate::Purl;

/// Returns the packages.
pub(super) fn read(text: &str, system: &System) -> Listing {
    paragraphs::read(text, |paragraph| {
        let field = |name: &str| paragraph.field(name);
        let (name, version) = (field("P"), field("V"));
        let purl = Purl::new("apk", name, version).namespace(system.namespace("alpine"));
        Some(Package {
            name: name.to_owned(),
            version: version.to_owned(),
            purl: purl.qualifier("arch", field("A")).qualifier("distro", &system.distro()),
            license: Some(field("L").to_owned()).filter(|license| !license.is_empty()),
        })
    })
}
