//! The challenge of a 401: the `WWW-Authenticate` header.
//!
//! **Source** — RFC 9110 § 11.6.1; distribution, token authentication specification.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use xbuild_image::printable::printable;

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
            let Some(text) = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER) else {
                continue;
            };
            for challenge in http_auth::parse_challenges(text).unwrap_or_default() {
                let parameter = |name: &str| {
                    let mut found =
                        challenge.params.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.next().map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    if let Some(realm) = parameter("realm") {
                        let service = parameter("service");
                        let scopes = parameter("scope").unwrap_or_default();
                        let scopes = scopes.split_whitespace().take(MAX_SCOPES);
                        let scopes = scopes.map(str::to_owned).collect();
                        return Ok(Self::Bearer { realm, service, scopes });
                    }
                } else if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = true;
                }
                others.push(challenge.scheme.to_owned());
            }
        }
        if basic { Ok(Self::Basic) } else { Err(printable(&others.join(", "), 100)) }
    }
}

#[cfg(test)]
mod tests {
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
