//! The challenge of a 401: the `WWW-Authenticate` header.
//!
//! **Source** — RFC 9110 § 11.6.1; distribution, token authentication specification.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use xbuild_image::printable::printable;

use crate::auth::offer::Offer;

/// A challenge that the client can meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        /// The URL of the token server, not checked yet.
        realm: String,
        /// The name that the token server has for the registry.
        service: Option<String>,
        /// The scopes that the request needs, by the names that the registry has for them.
        scopes: Vec<String>,
    },
}

/// Bytes that a header may have: parsing takes linear time, but the schemes go into messages.
const MAX_HEADER: usize = 8 << 10;
/// Scopes of a challenge that are asked for: a mount needs two.
const MAX_SCOPES: usize = 8;

impl Challenge {
    /// Returns the best challenge of a 401: Bearer before Basic.
    ///
    /// **Errors** — the names of the offered schemes, for display, if neither is among them.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let mut basic = false;
        let mut others = Vec::new();
        for value in headers.get_all(WWW_AUTHENTICATE) {
            if value.len() > MAX_HEADER {
                continue;
            }
            // A realm may have letters of any encoding: it is only shown.
            for offer in Offer::all(&String::from_utf8_lossy(value.as_bytes())) {
                if offer.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = offer.parameter("realm") {
                        let scopes = offer.parameter("scope").unwrap_or_default();
                        let scopes = scopes.split_whitespace().take(MAX_SCOPES);
                        return Ok(Self::Bearer {
                            realm: realm.to_owned(),
                            service: offer.parameter("service").map(str::to_owned),
                            scopes: scopes.map(str::to_owned).collect(),
                        });
                    }
                } else if offer.scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                }
                others.push(offer.scheme);
            }
        }
        if basic { Ok(Self::Basic) } else { Err(printable(&others.join(", "), 100)) }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn parse(values: &[&str]) -> Result<Challenge, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::of(&headers)
    }

    #[test]
    fn reads_the_usual_challenges() {
        let bearer = |realm: &str, service: Option<&str>, scope: &str| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scopes: scope.split_whitespace().map(str::to_owned).collect(),
        };
        for (values, expected) in [
            (
                &[r#"Bearer realm="https://a.example/token",service="r.example",scope="x,y z""#][..],
                bearer("https://a.example/token", Some("r.example"), "x,y z"),
            ),
            (
                &[r#"bearer REALM="https://a.example/a\"b""#],
                bearer("https://a.example/a\"b", None, ""),
            ),
            (&[r#"Basic realm="x, y=\"z\"""#], Challenge::Basic),
            (
                &[r#"Basic realm="x", Bearer realm="https://a.example""#],
                bearer("https://a.example", None, ""),
            ),
            (&[r#"Negotiate"#, r#"Basic realm="x""#], Challenge::Basic),
        ] {
            assert_eq!(parse(values), Ok(expected), "{values:?}");
        }
    }

    #[test]
    fn reads_challenges_that_break_the_rules() {
        let bearer = |service: &str| Challenge::Bearer {
            realm: "http://h/t".to_owned(),
            service: Some(service.to_owned()),
            scopes: Vec::new(),
        };
        for (value, expected) in [
            ("Basic realm=\"D\u{e9}p\u{f4}t\"".as_bytes(), Challenge::Basic),
            (b"Basic realm=\"D\xe9p\xf4t\"", Challenge::Basic),
            (b"Basic realm=Nexus Repository Manager", Challenge::Basic),
            (b"Basic realm=registry:5000", Challenge::Basic),
            (b"Basic realm=", Challenge::Basic),
            (b"Negotiate YII=, Basic realm=\"x\"", Challenge::Basic),
            (b"Bearer realm=\"http://h/t\",service=127.0.0.1:5032", bearer("127.0.0.1:5032")),
            (b"Bearer realm=\"http://h/t\";service=\"x\"", bearer("x")),
            (b"Basic realm=a b, Bearer realm=http://h/t, service=\"x, y\"", bearer("x, y")),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(value).unwrap());
            let shown = String::from_utf8_lossy(value);
            assert_eq!(Challenge::of(&headers), Ok(expected), "{shown}");
        }
    }

    #[test]
    fn refuses_what_cannot_be_met() {
        let long = format!("Bearer realm=\"{}\"", "x".repeat(1 << 20));
        for bad in
            ["", "Bearer", "Bearer service=\"x\"", "Negotiate", "Bearer realm=\"x", "=,=", &long]
        {
            assert!(parse(&[bad]).is_err(), "{}", &bad[..bad.len().min(40)]);
        }
        assert!(parse(&[]).is_err());
    }
}
