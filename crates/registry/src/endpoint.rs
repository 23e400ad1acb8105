//! The URLs of a registry's API.

use reqwest::Url;
use xbuild_model::reference::{DOCKER_HUB, is_loopback};
use xbuild_model::{Digest, Reference};

use crate::error::RequestError;
use crate::hosts::Mirror;
use crate::options::ClientOptions;
use crate::transport::origin::Origin;
use crate::transport::reach::{Class, Reach};

/// The host that serves Docker's registry.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// A place that a repository can be pulled from.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) endpoint: Endpoint,
    pub(crate) repository: String,
    pub(crate) is_mirror: bool,
    /// Whether manifests are asked for by tags here.
    pub(crate) for_tags: bool,
    /// Whether manifests and blobs are asked for by digests here.
    pub(crate) for_digests: bool,
}

impl Place {
    /// Returns the places that a repository can be pulled from, mirrors and in the end its own, and the
    /// mirrors with a name that is none.
    ///
    /// **Errors** — the registry is blocked, or has a name that is none.
    pub(crate) fn all<'o>(
        registry: &str,
        repository: &str,
        options: &'o ClientOptions,
    ) -> Result<(Vec<Self>, Vec<&'o Mirror>), RequestError> {
        let at = |place: &Mirror, rest: &str| {
            let endpoint = Endpoint::of(&place.host, options)?;
            let (repository, is_mirror) = (place.repository(rest), true);
            Ok::<_, RequestError>(Self {
                endpoint,
                repository,
                is_mirror,
                for_tags: true,
                for_digests: true,
            })
        };
        let rule = options.prefix(registry, repository);
        if rule.is_some_and(|(rule, _)| rule.is_blocked) {
            return Err(RequestError::Blocked { repository: format!("{registry}/{repository}") });
        }
        let of_host = options.host(registry).into_iter().flat_map(|host| &host.mirrors);
        let (mut places, mut nameless) = (Vec::new(), Vec::new());
        for mirror in of_host {
            match at(mirror, repository) {
                Ok(place) => places.push(place),
                Err(_) => nameless.push(mirror),
            }
        }
        for mirror in rule.iter().flat_map(|(rule, _)| &rule.mirrors) {
            let (for_tags, for_digests) = (mirror.for_tags, mirror.for_digests);
            match at(&mirror.place, rule.map_or("", |(_, rest)| rest)) {
                Ok(place) => places.push(Self { for_tags, for_digests, ..place }),
                Err(_) => nameless.push(&mirror.place),
            }
        }
        let moved = rule.and_then(|(rule, rest)| Some((rule.location.as_ref()?, rest)));
        let last = match moved {
            Some((location, rest)) => at(location, rest)?,
            None => Self::own(registry, repository, options)?,
        };
        places.push(Self { is_mirror: false, ..last });
        Ok((places, nameless))
    }

    /// Returns the repository in its registry, wherever it is pulled from otherwise.
    pub(crate) fn own(
        registry: &str,
        repository: &str,
        options: &ClientOptions,
    ) -> Result<Self, RequestError> {
        let endpoint = Endpoint::of(registry, options)?;
        let (repository, is_mirror) = (repository.to_owned(), false);
        Ok(Self { endpoint, repository, is_mirror, for_tags: true, for_digests: true })
    }

    /// Returns whether the place may be asked: for a digest, or for a tag.
    pub(crate) fn serves(&self, is_digest: bool) -> bool {
        if is_digest { self.for_digests } else { self.for_tags }
    }
}

/// The API of one registry.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    registry: String,
    base: Url,
    origin: Origin,
    /// Whether it may turn out that the registry speaks TLS.
    may_speak_tls: bool,
}

impl Endpoint {
    /// Returns the endpoint of `registry`, host and port as in a reference.
    pub(crate) fn of(registry: &str, options: &ClientOptions) -> Result<Self, RequestError> {
        let plain = is_loopback(registry) || options.is_insecure(registry);
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        let scheme = if plain { "http" } else { "https" };
        let setup = RequestError::Setup { what: "the address of the registry" };
        let Ok(base) = Url::parse(&format!("{scheme}://{host}/v2/")) else { return Err(setup) };
        match Origin::of(&base) {
            Some(origin) if is_same_host(&base, host) => {
                Ok(Self { registry: registry.to_owned(), base, origin, may_speak_tls: plain })
            }
            _ => Err(setup),
        }
    }

    /// Returns the endpoint of the registry that an image is pushed to.
    ///
    /// **Errors** — the repository is blocked, or the registry has a name that is none.
    pub(crate) fn for_push(
        target: &Reference,
        options: &ClientOptions,
    ) -> Result<Self, RequestError> {
        let (registry, repository) = (target.registry(), target.repository());
        match options.prefix(registry, repository) {
            Some((rule, _)) if rule.is_blocked => {
                Err(RequestError::Blocked { repository: format!("{registry}/{repository}") })
            }
            _ => Self::of(registry, options),
        }
    }

    /// Returns the endpoint at the origin of `url`, which another registry has led to.
    pub(crate) fn at(url: &Url, origin: &Origin) -> Self {
        let mut base = url.clone();
        base.set_path("/v2/");
        base.set_query(None);
        base.set_fragment(None);
        Self { registry: origin.name(), base, origin: origin.clone(), may_speak_tls: false }
    }

    /// Returns whether plain HTTP is only the first guess.
    pub(crate) fn may_speak_tls(&self) -> bool {
        self.may_speak_tls
    }

    /// Returns the endpoint over TLS.
    pub(crate) fn over_tls(&self) -> Self {
        let base = over_tls(self.base.clone());
        let origin = Origin::of(&base).unwrap_or_else(|| self.origin.clone());
        Self { base, origin, ..self.clone() }
    }

    /// Returns a URL of this endpoint as it is over the endpoint's scheme.
    pub(crate) fn adjust(&self, url: Url) -> Url {
        if self.origin.is_https() { over_tls(url) } else { url }
    }

    /// Returns the name of the registry, as in a reference.
    pub(crate) fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the addresses that documents of the registry may lead to. Where a name leads is not
    /// known here: it counts as the internet.
    pub(crate) fn reach(&self) -> Reach {
        Reach::Any.narrowed(Class::of_host(&self.base).unwrap_or(Class::Public))
    }

    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the root of the API.
    pub(crate) fn root(&self) -> Url {
        self.base.clone()
    }

    pub(crate) fn manifest(&self, repository: &str, name: &str) -> Url {
        self.url(&format!("{repository}/manifests/{name}"))
    }

    pub(crate) fn blob(&self, repository: &str, digest: &Digest) -> Url {
        self.url(&format!("{repository}/blobs/{digest}"))
    }

    /// Returns the first page of the tags of a repository.
    pub(crate) fn tags(&self, repository: &str) -> Url {
        let mut url = self.url(&format!("{repository}/tags/list"));
        url.set_query(Some("n=1000"));
        url
    }

    pub(crate) fn uploads(&self, repository: &str) -> Url {
        self.url(&format!("{repository}/blobs/uploads/"))
    }

    /// Joins a path. Repositories, tags and digests are parsed values: no character of theirs has a
    /// meaning in a path.
    fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{path}"));
        url
    }
}

fn over_tls(mut url: Url) -> Url {
    // It cannot fail for a URL of HTTP.
    let _ = url.set_scheme("https");
    url
}

/// Returns whether the URL parser took the host as written: `1.2` must not become `1.0.0.2`.
fn is_same_host(url: &Url, host: &str) -> bool {
    let written = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = |text: &str| {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        bare.parse::<std::net::IpAddr>().ok()
    };
    url.host_str().is_some_and(|parsed| {
        parsed.eq_ignore_ascii_case(written)
            || address(parsed).is_some_and(|a| Some(a) == address(written))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_scheme_and_host() {
        let options = ClientOptions {
            insecure: ["plain.example:80".to_owned()].into(),
            ..Default::default()
        };
        for (registry, expected) in [
            ("docker.io", Some("https://registry-1.docker.io/v2/a/b/manifests/1")),
            ("r.example", Some("https://r.example/v2/a/b/manifests/1")),
            ("r.example:5000", Some("https://r.example:5000/v2/a/b/manifests/1")),
            ("plain.example:80", Some("http://plain.example/v2/a/b/manifests/1")),
            ("plain.example", Some("https://plain.example/v2/a/b/manifests/1")),
            ("localhost:5000", Some("http://localhost:5000/v2/a/b/manifests/1")),
            ("[::1]:5000", Some("http://[::1]:5000/v2/a/b/manifests/1")),
            ("[0:0::1]:5000", Some("http://[::1]:5000/v2/a/b/manifests/1")),
            ("1.2:5000", None),
            ("r.example:", None),
            ("user:pass@r.example", None),
            ("0x7f.1", None),
        ] {
            let endpoint = Endpoint::of(registry, &options);
            let url = endpoint.ok().map(|endpoint| endpoint.manifest("a/b", "1").to_string());
            assert_eq!(url.as_deref(), expected, "{registry}");
        }
    }
}
