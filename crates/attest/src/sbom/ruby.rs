//! Lock files of bundler. **Source** — `bundle-lock(1)`, and the files that it writes.

use super::package::Package;
use crate::Purl;

/// Returns the gems: the lines of four blanks below `specs:` of the sections `GEM` and `GIT`. What
/// has a deeper indentation is needed by a gem.
pub(super) fn read(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    let mut is_spec = false;
    let mut section = "";
    for line in text.lines() {
        if !line.starts_with(' ') {
            (section, is_spec) = (line, false);
        } else if line == "  specs:" {
            is_spec = matches!(section, "GEM" | "GIT");
        } else if is_spec
            && let Some(gem) = line.strip_prefix("    ").filter(|gem| !gem.starts_with(' '))
            && let Some((name, version)) = gem.split_once(" (")
        {
            let version = version.trim_end_matches(')');
            found.push(Package {
                name: name.to_owned(),
                version: version.to_owned(),
                purl: Purl::new("gem", name, version),
                license: None,
            });
        }
    }
    found
}
