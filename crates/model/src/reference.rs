//! Image references: `[registry/]repository[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use xbuild_wording::{quoted, without_login};

use crate::Digest;

/// A parsed image reference, with Docker's defaults filled in.
///
/// `busybox` is `docker.io/library/busybox:latest`.
///
/// **Source** — distribution/reference grammar; OCI distribution-spec § Pulling manifests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The name has an empty part, or characters that no registry takes, such as upper case.
    #[error("invalid image reference {text}: {reason}", text = quoted(.text))]
    Malformed {
        /// The text.
        text: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
}

/// The registry of names that do not say one.
pub const DOCKER_HUB: &str = "docker.io";

impl Reference {
    /// Returns the host and port of the registry, `docker.io` if none was written.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the repository, with `library/` added for official images.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag: `latest` if neither tag nor digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest that pins the content, if written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the digest, or the tag if there is no digest: the manifest is asked for by it.
    pub fn manifest_name(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// Returns the name of what has a digest in the same repository.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Returns registry and repository as Docker shows them: without the registry that is taken if none
    /// is named, and without the user of official images there.
    pub fn familiar_repository(&self) -> String {
        match &*self.registry {
            DOCKER_HUB => {
                self.repository.strip_prefix("library/").unwrap_or(&self.repository).to_owned()
            }
            registry => format!("{registry}/{}", self.repository),
        }
    }

    /// Returns the name as people write it: `app:1` for `docker.io/library/app:1`.
    ///
    /// ```
    /// let name: xbuild_model::Reference = "app:1".parse()?;
    /// assert_eq!((name.to_string().as_str(), name.familiar().as_str()), ("docker.io/library/app:1", "app:1"));
    /// # Ok::<(), xbuild_model::ReferenceError>(())
    /// ```
    pub fn familiar(&self) -> String {
        let whole = self.to_string();
        let end = whole.strip_prefix(&format!("{}/{}", self.registry, self.repository));
        format!("{}{}", self.familiar_repository(), end.unwrap_or_default())
    }

    /// Returns whether the registry is on this machine, where plain HTTP is the default.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.registry)
    }
}

/// Returns whether `registry`, a host with or without port, is on a loopback address.
pub fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Returns whether a text may be a URL, with or without a scheme, that has a user and a password.
fn is_url(text: &str) -> bool {
    let (user, rest) = text.rsplit_once('@').unwrap_or_default();
    user.contains(':') && rest.contains('/')
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let fail = |reason| {
            let shown = if is_url(text) { without_login(text) } else { text.to_owned() };
            ReferenceError::Malformed { text: shown.chars().take(200).collect(), reason }
        };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                (name, Some(digest.parse().map_err(|_| fail("the digest is not sha256:HEX"))?))
            }
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match name[last..].find(':') {
            Some(colon) => (&name[..last + colon], Some(&name[last + colon + 1..])),
            None => (name, None),
        };
        if tag.is_some_and(|tag| !valid_tag(tag)) {
            return Err(fail("a tag has 1 to 128 letters, digits, '_', '.' or '-'"));
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path))
                if host.contains(['.', ':']) || host == "localhost" || has_upper(host) =>
            {
                (host, path)
            }
            _ => (DOCKER_HUB, name),
        };
        if !valid_host(registry) {
            return Err(fail("the registry is not a host name with an optional port"));
        }
        let registry = if registry == "index.docker.io" { DOCKER_HUB } else { registry };
        if path.is_empty() || !path.split('/').all(valid_component) {
            return Err(fail(
                "a repository has lower-case letters and digits, joined by '.', '_', '-' or '/'",
            ));
        }
        let repository = if registry == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if repository.len() > 255 {
            return Err(fail("a repository has at most 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { registry: registry.to_owned(), repository, tag, digest })
    }
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

fn has_upper(text: &str) -> bool {
    text.chars().any(|c| c.is_ascii_uppercase())
}

fn valid_tag(tag: &str) -> bool {
    let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    (1..=128).contains(&tag.len()) && tag.chars().all(ok) && !tag.starts_with(['.', '-'])
}

fn valid_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !name.starts_with('[') || name.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let name_ok = match name.strip_prefix('[').and_then(|n| n.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        }),
    };
    name_ok
        && port.is_none_or(|p| p.parse::<u16>().is_ok() && p.chars().all(|c| c.is_ascii_digit()))
}

/// Checks a path component: alphanumeric runs joined by `.`, `_`, `__` or any number of `-`.
fn valid_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut separator = String::new();
    let separator_ok = |s: &str| matches!(s, "" | "." | "_" | "__") || s.chars().all(|c| c == '-');
    for c in component.chars() {
        if alphanumeric(c) {
            if !separator_ok(&separator) {
                return false;
            }
            separator.clear();
        } else if matches!(c, '.' | '_' | '-') {
            separator.push(c);
        } else {
            return false;
        }
    }
    component.starts_with(alphanumeric) && component.ends_with(alphanumeric)
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_docker_fills_in() {
        let digest = Digest::of(b"x");
        for (input, expected) in [
            ("busybox".to_owned(), "docker.io/library/busybox:latest".to_owned()),
            ("index.docker.io/a/b:1".to_owned(), "docker.io/a/b:1".to_owned()),
            ("localhost/a".to_owned(), "localhost/a:latest".to_owned()),
            ("127.0.0.1:5000/a/b__c".to_owned(), "127.0.0.1:5000/a/b__c:latest".to_owned()),
            ("r.example/a-----b:T.1_".to_owned(), "r.example/a-----b:T.1_".to_owned()),
            ("[::1]:5000/a".to_owned(), "[::1]:5000/a:latest".to_owned()),
            (format!("a@{digest}"), format!("docker.io/library/a@{digest}")),
            (format!("a:t@{digest}"), format!("docker.io/library/a:t@{digest}")),
        ] {
            let reference: Reference = input.parse().unwrap();
            assert_eq!(reference.to_string(), expected, "{input}");
            assert_eq!(expected.parse::<Reference>().unwrap(), reference, "{input}");
        }
    }

    /// The name that is filled in counts: what is written reads back.
    #[test]
    fn the_whole_repository_has_a_limit() {
        for (length, expected) in [(247, true), (248, false), (255, false)] {
            let name = "a".repeat(length);
            let parsed = name.parse::<Reference>();
            assert_eq!(parsed.is_ok(), expected, "{length}");
            assert!(format!("r.example/{name}").parse::<Reference>().is_ok(), "{length}");
        }
        assert!(format!("r.example/{}", "a".repeat(256)).parse::<Reference>().is_err());
    }

    #[test]
    fn refuses_what_no_registry_takes() {
        for bad in [
            "",
            "A",
            "a/",
            "/a",
            "a//b",
            "a:../x",
            "a:",
            "a@sha256:../../x",
            "a/..",
            "a/.b",
            "a___b",
            "r.example:99999/a",
            "r..example/a",
            "http://r.example/a",
            "a b",
            "-r.example/a",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn shows_no_password() {
        for bad in ["http://user:SECRET@r.example/a", "user:SECRET@r.example/a"] {
            let text = bad.parse::<Reference>().unwrap_err().to_string();
            assert!(text.contains("r.example/a") && !text.contains("SECRET"), "{text}");
        }
        let text = "r.example:1/a@sha256:x".parse::<Reference>().unwrap_err().to_string();
        assert!(text.contains("\"r.example:1/a@sha256:x\""), "{text}");
    }

    #[test]
    fn knows_loopback() {
        for (registry, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("localhost.example", false),
            ("10.0.0.1", false),
            ("docker.io", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }
}
