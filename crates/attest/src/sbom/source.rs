//! The files that tell of packages.

use super::package::{Package, Unread};
use super::system::System;
use super::{apk, dpkg, go, node, php, python, ruby, rust};

/// A kind of file that tells of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The database of dpkg, or a part of it.
    Dpkg,
    /// The database of apk.
    Apk,
    /// A lock file of npm.
    PackageLock,
    /// A lock file of yarn.
    Yarn,
    /// A lock file of pnpm.
    Pnpm,
    /// A lock file of cargo.
    CargoLock,
    /// A lock file of poetry, uv or pdm.
    PythonLock,
    /// A lock file of pipenv.
    Pipfile,
    /// A list of requirements for pip.
    Requirements,
    /// An installed package of Python.
    PythonMetadata,
    /// A lock file of bundler.
    Gemfile,
    /// The checksums of modules of Go.
    GoSum,
    /// A lock file of composer, or its list of what is installed.
    Composer,
    /// A database of rpm, which nobody here reads.
    Rpm,
}

/// The largest file that is read, in bytes: the databases of full systems have a tenth of it.
pub const MAX_SOURCE: u64 = 64 << 20;

/// Returns the kind of a file by its path, which has no leading slash; `None` if it tells of no
/// packages.
///
/// ```
/// use xbuild_attest::sbom::{Source, source_of};
///
/// assert_eq!(source_of("var/lib/dpkg/status"), Some(Source::Dpkg));
/// assert_eq!(source_of("app/Cargo.lock"), Some(Source::CargoLock));
/// assert_eq!(source_of("app/Cargo.toml"), None);
/// ```
pub fn source_of(path: &str) -> Option<Source> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match path {
        "var/lib/dpkg/status" => return Some(Source::Dpkg),
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => return Some(Source::Apk),
        _ => {}
    }
    let is_rpm = matches!(folder, "var/lib/rpm" | "usr/lib/sysimage/rpm" | "usr/share/rpm");
    if is_rpm && matches!(name, "Packages" | "Packages.db" | "rpmdb.sqlite") {
        return Some(Source::Rpm);
    }
    // Images without a package manager have a file for each package.
    if folder == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") {
        return Some(Source::Dpkg);
    }
    let parent = folder.rsplit('/').next().unwrap_or_default();
    Some(match name {
        "package-lock.json" | ".package-lock.json" | "npm-shrinkwrap.json" => Source::PackageLock,
        "yarn.lock" => Source::Yarn,
        "pnpm-lock.yaml" => Source::Pnpm,
        "Cargo.lock" => Source::CargoLock,
        "poetry.lock" | "uv.lock" | "pdm.lock" => Source::PythonLock,
        "Pipfile.lock" => Source::Pipfile,
        "requirements.txt" => Source::Requirements,
        "METADATA" if parent.ends_with(".dist-info") => Source::PythonMetadata,
        "PKG-INFO" if parent.ends_with(".egg-info") => Source::PythonMetadata,
        "Gemfile.lock" | "gems.locked" => Source::Gemfile,
        "go.sum" => Source::GoSum,
        "composer.lock" => Source::Composer,
        "installed.json" if parent == "composer" => Source::Composer,
        _ => return None,
    })
}

impl Source {
    /// Reads the packages of a file, in its order.
    ///
    /// **Errors** — the file is malformed, or of a kind that nobody here reads.
    pub fn read(self, bytes: &[u8], system: &System) -> Result<Vec<Package>, Unread> {
        let text = String::from_utf8_lossy(bytes);
        match self {
            Self::Dpkg => Ok(dpkg::read(&text, system)),
            Self::Apk => Ok(apk::read(&text, system)),
            Self::PackageLock => node::read_npm(&text),
            Self::Yarn => Ok(node::read_yarn(&text)),
            Self::Pnpm => Ok(node::read_pnpm(&text)),
            Self::CargoLock => rust::read(&text),
            Self::PythonLock => python::read_lock(&text),
            Self::Pipfile => python::read_pipfile(&text),
            Self::Requirements => Ok(python::read_requirements(&text)),
            Self::PythonMetadata => Ok(python::read_metadata(&text)),
            Self::Gemfile => Ok(ruby::read(&text)),
            Self::GoSum => Ok(go::read(&text)),
            Self::Composer => php::read(&text),
            Self::Rpm => Err(Unread::Unknown("the database of rpm")),
        }
    }
}
