//! What is particular about single registries: mirrors, certificates, headers.

use std::fmt;

use crate::auth::credential::Secret;

/// The options of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// The places that are asked before the registry itself, for pulls.
    pub mirrors: Vec<Mirror>,
    /// Whether certificates are not checked, and plain HTTP is spoken where the server does not speak
    /// TLS.
    pub insecure: bool,
    /// Whether logins may go over plain HTTP. Anybody on the way can read them.
    pub insecure_credentials: bool,
    /// Certificates to trust besides the system's: PEM texts, each with any number of certificates.
    pub roots: Vec<Vec<u8>>,
    /// The certificate that shows who the client is.
    pub client_certificate: Option<ClientCertificate>,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// Bytes that one request of an upload may have.
    pub chunk: Option<u64>,
}

/// Where the repositories of a registry, or some of them, are pulled from. `registries.conf` of podman
/// has such rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixRule {
    /// `HOST[:PORT]`, `HOST[:PORT]/PATH` or `*.DOMAIN`: the repositories that it is for. The longest
    /// prefix counts. The host is in lower case.
    pub prefix: String,
    /// The place that takes the place of the prefix; `None` for the registry itself.
    pub location: Option<Mirror>,
    /// The places that are asked before it.
    pub mirrors: Vec<PrefixMirror>,
    /// Whether nothing is pulled from there.
    pub is_blocked: bool,
}

/// A mirror of a [`PrefixRule`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixMirror {
    /// The place that takes the place of the prefix.
    pub place: Mirror,
    /// Whether manifests are asked for by tags here.
    pub for_tags: bool,
    /// Whether manifests and blobs are asked for by digests here.
    pub for_digests: bool,
}

impl PrefixRule {
    /// Returns the rest of a repository below the prefix, `None` if the rule is not for it.
    pub(crate) fn rest<'r>(&self, registry: &str, repository: &'r str) -> Option<&'r str> {
        if let Some(domain) = self.prefix.strip_prefix('*') {
            return registry.to_ascii_lowercase().ends_with(domain).then_some(repository);
        }
        let (host, path) = self.prefix.split_once('/').unwrap_or((&self.prefix, ""));
        if !registry.eq_ignore_ascii_case(host) {
            return None;
        }
        match repository.strip_prefix(path)? {
            _ if path.is_empty() => Some(repository),
            "" => Some(""),
            rest => rest.strip_prefix('/'),
        }
    }
}

/// A place with the images of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Host and port.
    pub host: String,
    /// The repository below which the repositories of the registry are; empty for none.
    pub path: String,
}

impl Mirror {
    /// Reads `HOST[:PORT][/PATH]`.
    pub fn parse(text: &str) -> Self {
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        Self { host: host.to_owned(), path: path.trim_matches('/').to_owned() }
    }

    /// Returns the repository that has what is at `rest` there.
    pub(crate) fn repository(&self, rest: &str) -> String {
        let parts = [self.path.as_str(), rest];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    }
}

/// A client certificate with its key, as PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those up to its authority.
    pub chain: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_between_parts() {
        let rest = |prefix: &str, registry: &str, repository: &str| {
            let (location, mirrors) = (None, Vec::new());
            let rule = PrefixRule { prefix: prefix.into(), location, mirrors, is_blocked: false };
            rule.rest(registry, repository).map(str::to_owned)
        };
        for (prefix, registry, repository, expected) in [
            ("r.example", "R.example", "a/b", Some("a/b")),
            ("r.example/a", "r.example", "a/b", Some("b")),
            ("r.example/a/b", "r.example", "a/b", Some("")),
            ("r.example/a", "r.example", "ab", None),
            ("r.example", "r.example:5000", "a", None),
            ("*.example", "r.example", "a", Some("a")),
            ("*.example", "q.r.example", "a", Some("a")),
            ("*.example", "example", "a", None),
            ("*.example", "evilexample", "a", None),
        ] {
            assert_eq!(rest(prefix, registry, repository).as_deref(), expected, "{prefix}");
        }
        assert_eq!(Mirror::parse("m.example/p").repository("a"), "p/a");
        assert_eq!(Mirror::parse("m.example/p").repository(""), "p");
        assert_eq!(Mirror::parse("m.example").repository("a/b"), "a/b");
    }
}
