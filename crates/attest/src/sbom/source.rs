//! The files that tell of packages.

use std::borrow::Cow;

use super::package::{Listing, Unread};
use super::system::System;
use super::{apk, dpkg, go, node, nuget, php, python, ruby, rust};

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
    /// A lock file of Python for all tools.
    Pylock,
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
    /// A lock file of NuGet.
    NugetLock,
    /// The libraries of a program of .NET.
    DotnetDeps,
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
    // Images whose database of rpm was removed have a list of it.
    if folder == "var/lib/rpmmanifest" {
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
        "pylock.toml" => Source::Pylock,
        _ if name.starts_with("pylock.") && name.ends_with(".toml") => Source::Pylock,
        "Pipfile.lock" => Source::Pipfile,
        "requirements.txt" => Source::Requirements,
        "METADATA" if parent.ends_with(".dist-info") => Source::PythonMetadata,
        "PKG-INFO" if parent.ends_with(".egg-info") || parent == "EGG-INFO" => {
            Source::PythonMetadata
        }
        // Without setuptools it is a file.
        _ if name.ends_with(".egg-info") => Source::PythonMetadata,
        "Gemfile.lock" | "gems.locked" => Source::Gemfile,
        "go.sum" => Source::GoSum,
        "composer.lock" => Source::Composer,
        "installed.json" if parent == "composer" => Source::Composer,
        "packages.lock.json" => Source::NugetLock,
        _ if name.ends_with(".deps.json") => Source::DotnetDeps,
        _ => return None,
    })
}

impl Source {
    /// Reads the packages of a file, in its order, as far as it tells them.
    pub fn read(self, bytes: &[u8], system: &System) -> Listing {
        let text = text_of(bytes);
        if self.is_merged() && text.lines().any(|line| line.starts_with("<<<<<<< ")) {
            return Unread::Conflict.into();
        }
        match self {
            Self::Dpkg => dpkg::read(&text, system),
            Self::Apk => apk::read(&text, system),
            Self::PackageLock => node::read_npm(&text).into(),
            Self::Yarn => node::read_yarn(&text).into(),
            Self::Pnpm => node::read_pnpm(&text).into(),
            Self::CargoLock => rust::read(&text).into(),
            Self::PythonLock => python::read_lock(&text).into(),
            Self::Pylock => python::read_pylock(&text).into(),
            Self::Pipfile => python::read_pipfile(&text).into(),
            Self::Requirements => python::read_requirements(&text).into(),
            Self::PythonMetadata => python::read_metadata(&text).into(),
            Self::Gemfile => ruby::read(&text).into(),
            Self::GoSum => go::read(&text),
            Self::Composer => php::read(&text).into(),
            Self::NugetLock => nuget::read_lock(&text).into(),
            Self::DotnetDeps => nuget::read_deps(&text).into(),
            Self::Rpm => Unread::Unknown("the database of rpm").into(),
        }
    }

    /// Returns whether people keep such files in repositories, where merges may fail.
    fn is_merged(self) -> bool {
        !matches!(
            self,
            Self::Dpkg | Self::Apk | Self::PythonMetadata | Self::DotnetDeps | Self::Rpm
        )
    }
}

/// Returns the text of a file: UTF-8, or UTF-16 if a byte order mark says so, as editors of Windows write
/// it.
fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        Cow::Owned(String::from_utf16_lossy(&units))
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes),
    }
}
