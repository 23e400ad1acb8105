//! Platforms, normalised as containerd does it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xbuild_wording::quoted;

use crate::manifest::DescriptorPlatform;

/// A platform: operating system, architecture and variant, always normalised.
///
/// `linux/arm64/v8` is `linux/arm64`, `linux/arm` is `linux/arm/v7`, `x86_64` is `amd64`.
///
/// **Source** — containerd/platforms, normalisation rules; OCI image-spec `image-index.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// Not one to three parts, or a part has other characters than letters, digits, `_`, `.`, `-`.
    #[error(
        "invalid platform {text}: expected os/architecture or os/architecture/variant",
        text = quoted(.text)
    )]
    Malformed {
        /// The text.
        text: String,
    },
    /// One word that is neither an operating system nor an architecture.
    #[error(
        "invalid platform {text}: unknown operating system or architecture",
        text = quoted(.text)
    )]
    UnknownWord {
        /// The text.
        text: String,
    },
}

impl Platform {
    /// The systems that have a name in Go, and `wasi`, which images have.
    ///
    /// **Source** — Go, `internal/syslist`; containerd's `wasi/wasm`.
    pub const SYSTEMS: &[&str] = &[
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "illumos",
        "ios",
        "js",
        "linux",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasi",
        "wasip1",
        "windows",
        "zos",
    ];

    /// The architectures that have a name in Go, and so in images.
    ///
    /// **Source** — Go, `internal/syslist`.
    pub const ARCHITECTURES: &[&str] = &[
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "arm64",
        "arm64be",
        "armbe",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "mipsle",
        "ppc",
        "ppc64",
        "ppc64le",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    ];

    /// Returns the normalised platform of the given parts.
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let os = match os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let architecture = architecture.to_ascii_lowercase();
        let variant = variant.unwrap_or_default().to_ascii_lowercase();
        let (architecture, variant) = normalise(&architecture, &variant);
        Self { os, architecture, variant: Some(variant).filter(|v| !v.is_empty()) }
    }

    /// Returns the platform that this program was built for: the one that runs natively.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86" => "386",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// Returns the platform that an index entry names.
    pub fn of_descriptor(platform: &DescriptorPlatform) -> Self {
        Self::new(&platform.os, &platform.architecture, platform.variant.as_deref())
    }

    /// Returns the platform as an index entry writes it.
    pub fn to_descriptor(&self) -> DescriptorPlatform {
        DescriptorPlatform {
            architecture: self.architecture.clone(),
            os: self.os.clone(),
            variant: self.variant.clone(),
            ..DescriptorPlatform::default()
        }
    }

    /// Returns the operating system.
    pub fn os(&self) -> &str {
        &self.os
    }

    /// Returns the architecture.
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// Returns the variant, if there is one.
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// Returns the platforms whose images serve for this one, the best first, itself included.
    ///
    /// amd64 accepts lower levels and 386; arm accepts lower variants; arm64 accepts arm.
    pub fn accepted(&self) -> Vec<Platform> {
        let same = |variant: Option<&str>| Self::new(&self.os, &self.architecture, variant);
        let arm = |from: u32| {
            (5..=from).rev().map(|v| Self::new(&self.os, "arm", Some(&format!("v{v}"))))
        };
        let mut list = vec![self.clone()];
        match (self.architecture.as_str(), self.variant()) {
            ("amd64", variant) => {
                let level = variant.and_then(|v| v.strip_prefix('v')?.parse().ok()).unwrap_or(1);
                list.extend((1..level).rev().map(|v: u32| same(Some(&format!("v{v}")))));
                list.push(Self::new(&self.os, "386", None));
            }
            ("arm", Some(variant)) => {
                let version: u32 =
                    variant.strip_prefix('v').and_then(|v| v.parse().ok()).unwrap_or(0);
                list.extend(arm(version.saturating_sub(1).min(8)));
            }
            ("arm64", variant) => {
                let (major, minor) = arm64_version(variant.unwrap_or("v8")).unwrap_or((8, 0));
                let minors = if major >= 9 { minor + 5 } else { minor };
                if major >= 9 {
                    list.extend((0..minor).rev().map(|m| same(Some(&format!("v9.{m}")))));
                    list.push(same(Some(&format!("v8.{minors}"))));
                }
                list.extend((0..minors).rev().map(|m| same(Some(&format!("v8.{m}")))));
                list.extend(arm(8));
            }
            _ => {}
        }
        list
    }

    /// Returns the name of the folder of this platform in an exported tree: `linux_arm_v7`.
    pub fn folder_name(&self) -> String {
        self.to_string().replace('/', "_")
    }
}

impl Platform {
    /// Returns the name of the architecture in Docker's official images: `amd64`, `arm32v7`,
    /// `arm64v8`, `i386`. Those images are `arm32v7/debian`, their files often
    /// `Dockerfile.arm32v7`.
    ///
    /// **Source** — docker-library/official-images, § Architectures other than amd64.
    pub fn library_name(&self) -> String {
        let variant = self.variant().unwrap_or_default();
        match self.architecture() {
            "386" => "i386".to_owned(),
            "arm" => format!("arm32{variant}"),
            "arm64" if variant.is_empty() => "arm64v8".to_owned(),
            other => format!("{other}{variant}"),
        }
    }
}

/// Returns (major, minor) of an arm64 variant such as `v8.2`.
fn arm64_version(variant: &str) -> Option<(u32, u32)> {
    let text = variant.strip_prefix('v')?;
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    // Bounded, so that v8.4000000000 does not have billions of lower variants.
    Some((major.parse().ok().filter(|m| *m <= 9)?, minor.parse().ok().filter(|m| *m <= 20)?))
}

fn normalise(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64", v) => ("amd64", v),
        ("aarch64" | "arm64", "8" | "v8" | "8.0" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64", v) => ("arm64", v),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.to_owned(), variant.to_owned())
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let malformed = || PlatformError::Malformed { text: text.chars().take(100).collect() };
        let parts: Vec<&str> = text.split('/').collect();
        let valid = |part: &&str| {
            let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
            !part.is_empty() && part.chars().all(ok)
        };
        if !parts.iter().all(valid) {
            return Err(malformed());
        }
        match parts[..] {
            [word] => {
                let host = Self::host();
                let lower = word.to_ascii_lowercase();
                let (architecture, variant) = normalise(&lower, "");
                if Self::SYSTEMS.contains(&lower.as_str()) || lower == "macos" {
                    Ok(Self::new(word, host.architecture(), host.variant()))
                } else if Self::ARCHITECTURES.contains(&architecture.as_str()) {
                    Ok(Self::new(host.os(), &architecture, Some(&variant)))
                } else {
                    Err(PlatformError::UnknownWord { text: word.to_owned() })
                }
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(malformed()),
        }
    }
}

impl TryFrom<String> for Platform {
    type Error = PlatformError;

    fn try_from(text: String) -> Result<Self, PlatformError> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn official_images_have_names_of_their_own() {
        for (platform, name) in [
            ("linux/amd64", "amd64"),
            ("linux/386", "i386"),
            ("linux/arm/v5", "arm32v5"),
            ("linux/arm", "arm32v7"),
            ("linux/arm64/v8", "arm64v8"),
            ("linux/ppc64le", "ppc64le"),
            ("linux/amd64/v3", "amd64v3"),
        ] {
            assert_eq!(platform.parse::<Platform>().unwrap().library_name(), name);
        }
    }

    #[test]
    fn normalises_as_containerd_does() {
        for (input, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/amd64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/i386", "linux/386"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8.0", "linux/arm64"),
            ("linux/arm64/v8.2", "linux/arm64/v8.2"),
            ("linux/arm64/9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/riscv64", "linux/riscv64"),
            ("s390x", "linux/s390x"),
            ("macos/arm64", "darwin/arm64"),
        ] {
            assert_eq!(input.parse::<Platform>().unwrap().to_string(), expected, "{input}");
        }
        for bad in ["", "/", "linux/", "linux/*", "linux/amd64/v1/extra", "nonsense", "linux/a b"] {
            assert!(bad.parse::<Platform>().is_err(), "{bad}");
        }
    }

    #[test]
    fn falls_back_to_what_the_platform_can_run() {
        let accepted = |text: &str| -> Vec<String> {
            text.parse::<Platform>().unwrap().accepted().iter().map(ToString::to_string).collect()
        };
        assert_eq!(accepted("linux/amd64"), ["linux/amd64", "linux/386"]);
        assert_eq!(
            accepted("linux/amd64/v3"),
            ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]
        );
        assert_eq!(accepted("linux/arm/v6"), ["linux/arm/v6", "linux/arm/v5"]);
        assert_eq!(accepted("linux/riscv64"), ["linux/riscv64"]);
        assert_eq!(
            accepted("linux/arm64"),
            ["linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
        );
        let nine = accepted("linux/arm64/v9.1");
        assert_eq!(
            nine[..4],
            ["linux/arm64/v9.1", "linux/arm64/v9", "linux/arm64/v8.6", "linux/arm64/v8.5"]
        );
        assert_eq!(accepted("linux/arm64/v8.4000000000").len(), 5);
    }

    /// Row A56 of the threat table: an index may say anything.
    #[test]
    fn a_folder_name_is_one_part_of_a_path() {
        for (os, architecture, variant) in [
            ("..", "", None),
            ("../..", "../../etc", Some("..")),
            ("", "", None),
            (".", ".", Some(".")),
            ("/", "/", Some("/")),
            ("linux", "a\\b\n", None),
        ] {
            let name = Platform::new(os, architecture, variant).folder_name();
            let is_part = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            assert!(is_part, "{os:?} {architecture:?} {variant:?}: {name:?}");
        }
        for bad in
            ["../..", "linux/../x", "linux/..", "linux\\x/amd64", "./amd64", "linux/amd64/.."]
        {
            if let Ok(platform) = bad.parse::<Platform>() {
                assert!(!platform.folder_name().contains('/'), "{bad}");
            }
        }
    }
}
