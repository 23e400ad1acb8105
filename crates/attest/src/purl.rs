//! Package URLs.
//!
//! **Source** — ECMA-427, package URL specification § Rules for each component.

use std::fmt::{self, Write as _};

use xbuild_model::{Platform, Reference};

/// A package URL. Its parts are as they are named elsewhere, not encoded.
///
/// ```
/// use xbuild_attest::Purl;
///
/// let purl = Purl::new("deb", "libc++1", "1:14.0-1").namespace("debian").qualifier("arch", "amd64");
/// assert_eq!(purl.to_string(), "pkg:deb/debian/libc%2B%2B1@1:14.0-1?arch=amd64");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Purl {
    kind: &'static str,
    namespace: String,
    name: String,
    version: String,
    /// In the order of their names.
    qualifiers: Vec<(&'static str, String)>,
}

impl Purl {
    /// Returns the URL of a package; an empty version is left out.
    pub fn new(kind: &'static str, name: &str, version: &str) -> Self {
        let (namespace, qualifiers) = (String::new(), Vec::new());
        Self { kind, namespace, name: name.to_owned(), version: version.to_owned(), qualifiers }
    }

    /// Adds the namespace, whose parts have slashes between them.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Adds a qualifier unless its value is empty.
    #[must_use]
    pub fn qualifier(mut self, name: &'static str, value: &str) -> Self {
        if !value.is_empty() {
            self.qualifiers.push((name, value.to_owned()));
            self.qualifiers.sort();
        }
        self
    }
}

impl fmt::Display for Purl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pkg:{}/", self.kind)?;
        for part in self.namespace.split('/').filter(|part| !part.is_empty()) {
            encode(f, part)?;
            f.write_char('/')?;
        }
        encode(f, &self.name)?;
        if !self.version.is_empty() {
            f.write_char('@')?;
            encode(f, &self.version)?;
        }
        for (place, (name, value)) in self.qualifiers.iter().enumerate() {
            write!(f, "{}{name}=", if place == 0 { '?' } else { '&' })?;
            encode(f, value)?;
        }
        Ok(())
    }
}

/// Writes a text with all bytes but unreserved ones and colons as `%XX`.
fn encode(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for byte in text.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
        match is_plain {
            true => f.write_char(char::from(byte))?,
            false => write!(f, "%{byte:02X}")?,
        }
    }
    Ok(())
}

/// Returns the package URL of an image of a registry, for a platform.
///
/// **Source** — BuildKit, `util/purl`: the short name, the tag `latest` unless there is another or a
/// digest, and the platform as a qualifier.
pub fn image_purl(image: &Reference, platform: Option<&Platform>) -> Purl {
    let tag = match (image.tag(), image.digest()) {
        (Some(tag), _) => tag,
        (None, Some(_)) => "",
        (None, None) => "latest",
    };
    let name = image.familiar_repository();
    let (namespace, name) = name.rsplit_once('/').unwrap_or(("", &name));
    let digest = image.digest().map(ToString::to_string).unwrap_or_default();
    let platform = platform.map(ToString::to_string).unwrap_or_default();
    let purl = Purl::new("docker", name, tag).namespace(namespace);
    purl.qualifier("digest", &digest).qualifier("platform", &platform)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_have_the_urls_that_buildkit_gives_them() {
        let arm: Platform = "linux/arm64".parse().unwrap();
        let digest = format!("sha256:{}", "0".repeat(64));
        let with_digest = format!("r.example:5000/team/app@{digest}");
        for (name, platform, expected) in [
            ("alpine", None, "pkg:docker/alpine@latest".to_owned()),
            ("alpine:3.17", Some(&arm), "pkg:docker/alpine@3.17?platform=linux%2Farm64".to_owned()),
            ("moby/buildkit:1", None, "pkg:docker/moby/buildkit@1".to_owned()),
            (&with_digest, None, format!("pkg:docker/r.example:5000/team/app?digest={digest}")),
        ] {
            let purl = image_purl(&name.parse().unwrap(), platform);
            assert_eq!(purl.to_string(), expected);
        }
    }
}
