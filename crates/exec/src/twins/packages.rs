//! The packages of an image of Debian or Alpine: versions, and what they depend on.
//!
//! **Source** — deb822(5); Debian Policy § 5.6.12 "Version", § 7.1 "Syntax of relationship fields";
//! Alpine wiki, "Apk spec", the fields of an index.

use std::collections::{BTreeMap, BTreeSet};

/// A package manager's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Database {
    Dpkg,
    Apk,
}

impl Database {
    pub(super) const ALL: [Self; 2] = [Self::Dpkg, Self::Apk];

    /// Returns its path in an image.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Dpkg => "var/lib/dpkg/status",
            Self::Apk => "lib/apk/db/installed",
        }
    }

    /// Reads it. Paragraphs without name or version are left out.
    pub(super) fn parse(self, text: &str) -> Packages<'_> {
        match self {
            Self::Dpkg => Packages::of_dpkg(text),
            Self::Apk => Packages::of_apk(text),
        }
    }
}

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
    fn of_dpkg(status: &'a str) -> Self {
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

    fn of_apk(installed: &'a str) -> Self {
        let paragraphs = || installed.split("\n\n").map(str::lines);
        let words = |line: Option<&'a str>| line.unwrap_or_default().split_whitespace().map(bare);
        // Packages have the same names for all processors; the libraries that they provide do not.
        let mut providers = BTreeMap::new();
        for paragraph in paragraphs() {
            let field = |name: &str| paragraph.clone().find_map(|line| line.strip_prefix(name));
            let Some(package) = field("P:") else { continue };
            providers.extend(words(field("p:")).map(|provided| (provided, package)));
        }
        let packages = paragraphs().filter_map(|paragraph| {
            let field = |name: &str| paragraph.clone().find_map(|line| line.strip_prefix(name));
            let needs = words(field("D:")).filter(|need| !need.starts_with('!'));
            let needs = needs.map(|need| providers.get(need).copied().unwrap_or(need));
            let package = Package {
                version: field("V:")?,
                architecture: field("A:").unwrap_or_default(),
                needs: needs.collect(),
            };
            Some((field("P:")?, package))
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

/// Returns what a word of apk names, without a version.
fn bare(word: &str) -> &str {
    word.split(['=', '<', '>', '~']).next().unwrap_or(word)
}

/// Returns the names in a relationship field.
fn names(field: &str) -> impl Iterator<Item = &str> {
    field.split([',', '|']).filter_map(|part| {
        let name = part.split_whitespace().next()?;
        Some(name.split_once(':').map_or(name, |(name, _)| name))
    })
}

/// Returns a version without the suffix of a rebuild for one architecture.
pub(super) fn source(version: &str) -> &str {
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
        let ours = Database::Dpkg.parse(STATUS);
        let agrees = |text: String, name| ours.agree(&Database::Dpkg.parse(&text), name);
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
    #[test]
    fn packages_of_alpine_agree_whatever_the_processor() {
        let text = |machine: &str, libc: &str| {
            format!(
                "C:Q1abc=\nP:busybox\nV:1.36.1-r20\nA:{machine}\n\
                 D:!old so:libc.musl-{machine}.so.1 baselayout>=3\np:cmd:sh=1.36.1-r20\nF:bin\nR:busybox\n\n\
                 P:musl\nV:{libc}\nA:{machine}\np:so:libc.musl-{machine}.so.1=1\n\n\
                 P:baselayout\nV:3\nD:musl\n\n"
            )
        };
        let (ours, theirs) = (text("aarch64", "1.2.5-r0"), text("x86_64", "1.2.5-r0"));
        let ours = Database::Apk.parse(&ours);
        assert!(ours.agree(&Database::Apk.parse(&theirs), "busybox"));
        assert!(!ours.agree(&Database::Apk.parse(&text("x86_64", "1.2.5-r1")), "busybox"));
        let other = theirs.replace("V:1.36.1-r20", "V:1.36.1-r21");
        assert!(!ours.agree(&Database::Apk.parse(&other), "busybox"));
        assert!(!ours.agree(&Database::Apk.parse(""), "busybox"));
        assert_eq!(ours.architecture("musl"), Some("aarch64"));
    }
}
