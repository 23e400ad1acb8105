//! Checksums of Go's modules. **Source** — Go modules reference § go.sum files.

use super::package::Package;
use crate::Purl;

/// Returns the modules whose files have a checksum, which may be more than a program uses.
pub(super) fn read(text: &str) -> Vec<Package> {
    let module = |line: &str| {
        let mut words = line.split(' ');
        let (path, version) = (words.next()?, words.next()?);
        if version.ends_with("/go.mod") || words.next().is_none() {
            return None;
        }
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        Some(Package {
            name: path.to_owned(),
            version: version.to_owned(),
            purl: Purl::new("golang", name, version).namespace(namespace),
            license: None,
        })
    };
    text.lines().filter_map(module).collect()
}
