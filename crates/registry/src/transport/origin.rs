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

    pub(crate) fn is_https(&self) -> bool {
        self.https
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// Checks that an answer of this origin may lead to `target`.
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
        if to.is_loopback() && !self.is_loopback() {
            return Err("a remote server must not lead to this machine");
        }
        if is_local_only(&to.host) {
            return Err("link-local and unspecified addresses are not followed");
        }
        Ok(to)
    }
}

/// Returns whether `host` is an address that no registry has: unspecified, link-local (where clouds
/// serve the credentials of a machine) or multicast.
fn is_local_only(host: &str) -> bool {
    let v4 = |ip: std::net::Ipv4Addr| {
        ip.is_unspecified() || ip.is_link_local() || ip.is_multicast() || ip.is_broadcast()
    };
    let text = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    match text.parse() {
        Ok(std::net::IpAddr::V4(ip)) => v4(ip),
        Ok(std::net::IpAddr::V6(ip)) => {
            ip.is_unspecified()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.to_ipv4_mapped().is_some_and(|ip| v4(ip) || ip.is_loopback())
        }
        Err(_) => false,
    }
}

/// Returns `url` without user information, query and fragment: these may hold secrets.
pub(crate) fn redact(url: &Url) -> String {
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
            ("https://r.example/v2/", "https://10.0.0.7/x", true),
            ("https://r.example/v2/", "http://r.example/x", false),
            ("https://r.example/v2/", "https://127.0.0.1/x", false),
            ("https://r.example/v2/", "https://localhost/x", false),
            ("https://r.example/v2/", "https://[::1]/x", false),
            ("https://r.example/v2/", "https://[::ffff:127.0.0.1]/x", false),
            ("https://r.example/v2/", "https://169.254.169.254/latest/meta-data", false),
            ("https://r.example/v2/", "https://[fe80::1]/", false),
            ("https://r.example/v2/", "https://0.0.0.0/", false),
            ("https://r.example/v2/", "https://user:pass@r.example/", false),
            ("https://r.example/v2/", "file:///etc/passwd", false),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/x", true),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x", true),
            ("http://127.0.0.1:5000/v2/", "http://169.254.169.254/", false),
        ] {
            assert_eq!(check(from, to), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn redacts_where_secrets_are() {
        let url = "https://u:p@cdn.example:8443/blob?X-Signature=secret#f".parse().unwrap();
        assert_eq!(redact(&url), "https://cdn.example:8443/blob");
    }
}
