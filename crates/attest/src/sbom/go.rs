//! Checksums of Go's modules. **Source** — Go modules reference § go.sum files.

use super::package::{Listing, Package, Unread};
use crate::Purl;

/// Returns the modules whose files have a checksum, which may be more than a program uses.
pub(super) fn read(text: &str) -> Listing {
    let mut listing = Listing::default();
    let mut broken = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, version, _] if version.ends_with("/go.mod") => {}
            [path, version, _] => listing.packages.push(module(path, version)),
            _ => broken.push(number + 1),
        }
    }
    let of = |first: &usize| Unread::Entries { count: broken.len(), line: *first };
    listing.unread = broken.first().map(of);
    listing
}

fn module(path: &str, version: &str) -> Package {
    // **Source** — package URL specification, type `golang`: names are in lower case.
    let lower = path.to_lowercase();
    let (namespace, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    Package {
        name: path.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("golang", name, version).namespace(namespace),
        license: None,
    }
}
