//! The packages of a Debian image: versions, and what they depend on.
//!
//! **Source** — deb822(5); Debian Policy § 5.6.12 "Version", § 7.1 "Syntax of relationship fields".

use std::collections::{BTreeMap, BTreeSet};

/// The path of dpkg's database.
pub(super) const STATUS: &str = "var/lib/dpkg/status";

/// The packages of an image by name.
#[derive(Debug, Default)]
pub(super) struct Packages<'a>(BTreeMap<&'a str, Package<'a>>);

#[derive(Debug)]
struct Package<'a> {
    version: &'a str,
    /// Debian's name of it; empty if there is none.
    architecture: &'a str,
    /// The names of the packages that it needs.
    needs: Vec<&'a str>,
}

impl<'a> Packages<'a> {
    /// Reads dpkg's database. Paragraphs without name or version are left out.
    pub(super) fn parse(status: &'a str) -> Self {
        let packages = status.split("\n\n").filter_map(|paragraph| {
            let field = |name: &str| {
                let lines = paragraph.lines();
                lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(':')).next()
            };
            let is_installed = field("Status")?.trim().ends_with(" installed");
            let needs = ["Pre-Depends", "Depends"].into_iter().filter_map(field).flat_map(names);
            let package = Package {
                version: field("Version")?.trim(),
                architecture: field("Architecture").unwrap_or_default().trim(),
                needs: needs.collect(),
            };
            is_installed.then_some((field("Package")?.trim(), package))
        });
        Self(packages.collect())
    }

    /// Returns whether a package, and all that it depends on, have the same versions in both images.
    pub(super) fn agree(&self, other: &Packages<'_>, name: &str) -> bool {
        let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(name) = open.pop() {
            let (ours, theirs) = (self.0.get(name), other.0.get(name));
            match (ours, theirs) {
                (Some(ours), Some(theirs)) if source(ours.version) == source(theirs.version) => {
                    let new = ours.needs.iter().filter(|name| seen.insert(**name));
                    open.extend(new);
                }
                // An alternative that was not taken, or a virtual package.
                (None, None) if !seen.is_empty() => {}
                _ => return false,
            }
        }
        true
    }

    /// Returns the architecture of a package; `None` if it is not installed.
    pub(super) fn architecture(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(|package| package.architecture)
    }
}

/// Returns the names in a relationship field.
fn names(field: &str) -> impl Iterator<Item = &str> {
    field.split([',', '|']).filter_map(|part| {
        let name = part.split_whitespace().next()?;
        Some(name.split_once(':').map_or(name, |(name, _)| name))
    })
}

/// Returns a version without the suffix of a rebuild for one architecture.
fn source(version: &str) -> &str {
    match version.rsplit_once("+b") {
        Some((source, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => source,
        _ => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: dash\nStatus: install ok installed\nVersion: 0.5+b2\n\
        Pre-Depends: libc6 (>= 2.36), debconf (>= 0.5) | debconf-2.0\n\n\
        Package: libc6\nStatus: install ok installed\nVersion: 2.36\nDepends: libgcc-s1:any\n\n\
        Package: libgcc-s1\nStatus: install ok installed\nVersion: 12\n\n\
        Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";

    #[test]
    fn rebuilds_are_the_same_version() {
        let ours = Packages::parse(STATUS);
        let agrees = |text: String, name| ours.agree(&Packages::parse(&text), name);
        assert!(agrees(STATUS.to_owned(), "dash"));
        assert!(agrees(STATUS.replace("+b2", "+b17"), "dash"));
        assert!(!agrees(STATUS.replace("0.5+b2", "0.6"), "dash"));
        assert!(
            !agrees(STATUS.replace("Version: 12", "Version: 13"), "dash"),
            "a library's library"
        );
        assert!(agrees(STATUS.replace("Version: 0.5", "Version: 0.6"), "libc6"));
        assert!(!agrees(STATUS.to_owned(), "gone"));
        assert!(!agrees(STATUS.to_owned(), "none"));
        assert!(!agrees(String::new(), "dash"));
    }
}
