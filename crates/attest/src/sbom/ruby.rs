//! Lock files of bundler. **Source** — `bundle-lock(1)`, and the files that it writes.

use super::package::{Package, Unread, expect_marks};
use crate::Purl;

/// Returns the gems: the lines of four blanks below `specs:` of the sections `GEM` and `GIT`. What
/// has a deeper indentation is needed by a gem.
pub(super) fn read(text: &str) -> Result<Vec<Package>, Unread> {
    let mut found = Vec::new();
    let mut is_spec = false;
    let (mut section, mut is_lock) = ("", false);
    for line in text.lines() {
        if !line.starts_with(' ') {
            (section, is_spec) = (line, false);
            is_lock |= matches!(line, "GEM" | "GIT" | "PATH" | "PLATFORMS" | "DEPENDENCIES");
        } else if line == "  specs:" {
            is_spec = matches!(section, "GEM" | "GIT");
        } else if is_spec
            && let Some(gem) = line.strip_prefix("    ").filter(|gem| !gem.starts_with(' '))
            && let Some((name, version)) = gem.split_once(" (")
        {
            found.push(package(name, version.trim_end_matches(')')));
        }
    }
    expect_marks(is_lock, text, "lock file of bundler")?;
    Ok(found)
}

/// Returns a gem. Its version has no hyphen: what follows one is the platform that it was built for.
fn package(name: &str, version: &str) -> Package {
    let (number, platform) = version.split_once('-').unwrap_or((version, ""));
    Package {
        name: name.to_owned(),
        version: version.to_owned(),
        purl: Purl::new("gem", name, number).qualifier("platform", platform),
        license: None,
    }
}
