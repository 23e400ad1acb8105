//! Origins of URLs, and the rules for following a server from one origin to another.
//!
//! Credentials belong to an origin: scheme, host and port. A redirect, the `Location` of an upload
//! or the realm of a challenge that leads to another origin is followed without them, or not at
//! all.

use reqwest::Url;
use xbuild_image::printable::printable;
use xbuild_model::reference::is_loopback;

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of `url`; `None` unless its scheme is HTTP or HTTPS.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let https = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Self {
            https,
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }

    /// Returns host and port as in a reference, the port only if it is not that of the scheme.
    pub(crate) fn name(&self) -> String {
        let usual = if self.https { 443 } else { 80 };
        match self.port == usual {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns the URL that a server means that calls itself by `http` though it is spoken to over
    /// `https`: it stands behind something that ends TLS. Other URLs stay as they are.
    pub(crate) fn meant(&self, mut url: Url) -> Url {
        let same_host = url.host_str().is_some_and(|host| host.eq_ignore_ascii_case(&self.host));
        if self.https && url.scheme() == "http" && same_host {
            let port = url.port().unwrap_or(self.port);
            // Neither fails for an http URL with a host.
            let _ = url.set_scheme("https");
            let _ = url.set_port(Some(port));
        }
        url
    }

    /// Returns whether a blob or manifest for this origin may be sent to another one that it names:
    /// over `https`, or within this machine.
    pub(crate) fn may_send_to(&self, to: &Self) -> bool {
        to == self || to.https || (!self.https && self.is_loopback() && to.is_loopback())
    }

    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Checks that an answer of this origin may lead to `target`, wherever that is; the address is
    /// compared by [`crate::transport::reach`].
    ///
    /// **Errors** — the rule that forbids it.
    pub(crate) fn may_lead_to(&self, target: &Url) -> Result<Origin, &'static str> {
        let to = Self::of(target).ok_or("only http and https are followed")?;
        if !target.username().is_empty() || target.password().is_some() {
            return Err("a URL with user information is not followed");
        }
        if to == *self {
            return Ok(to);
        }
        if self.https && !to.https {
            return Err("https must not lead to http");
        }
        Ok(to)
    }
}

/// Returns `url` without user information, query and fragment: these may hold secrets. Of a URL without
/// a host nothing is known but its scheme.
pub(crate) fn redact(url: &Url) -> String {
    if url.cannot_be_a_base() {
        return format!("{}:..", url.scheme());
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let text = format!("{}://{host}{port}{}", url.scheme(), url.path());
    printable(&text, 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_where_a_server_may_lead() {
        let check = |from: &str, to: &str| {
            let from = Origin::of(&from.parse().unwrap()).unwrap();
            from.may_lead_to(&to.parse().unwrap()).is_ok()
        };
        for (from, to, expected) in [
            ("https://r.example/v2/", "https://cdn.example/x?sig=1", true),
            ("https://r.example/v2/", "http://r.example/x", false),
            ("https://r.example/v2/", "https://user:pass@r.example/", false),
            ("https://r.example/v2/", "file:///etc/passwd", false),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/x", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x", true),
        ] {
            assert_eq!(check(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn a_server_behind_tls_means_https() {
        for (from, url, expected) in [
            ("https://r.example", "http://r.example/t?a=1", "https://r.example/t?a=1"),
            ("https://r.example", "http://R.example:80/t", "https://r.example/t"),
            ("https://r.example:5443", "http://r.example/t", "https://r.example:5443/t"),
            ("https://r.example:5443", "http://r.example:5443/t", "https://r.example:5443/t"),
            ("https://r.example", "http://other.example/t", "http://other.example/t"),
            ("https://r.example", "https://r.example:1/t", "https://r.example:1/t"),
            ("http://r.example", "http://r.example/t", "http://r.example/t"),
        ] {
            let origin = Origin::of(&from.parse().unwrap()).unwrap();
            assert_eq!(origin.meant(url.parse().unwrap()).as_str(), expected, "{from} {url}");
        }
    }

    #[test]
    fn redacts_where_secrets_are() {
        let url = "https://u:p@cdn.example:8443/blob?X-Signature=secret#f".parse().unwrap();
        assert_eq!(redact(&url), "https://cdn.example:8443/blob");
        assert_eq!(redact(&"user:pass@cdn.example/blob".parse().unwrap()), "user:..");
    }
}
