//! The URLs of proxies, as `HTTP_PROXY` and `HTTPS_PROXY` give them. They may hold a password, which no
//! message shows.

use reqwest::Url;

use crate::error::RequestError;
use crate::options::Proxies;
use crate::transport::origin::redact;

/// Returns the proxy for URLs of a scheme, `https` or `http`, if there is one. A text without a scheme is
/// a host.
///
/// **Errors** — [`RequestError::Proxy`] if it is not a proxy of HTTP.
pub(super) fn url(proxies: &Proxies, https: bool) -> Result<Option<Url>, RequestError> {
    let (text, variable) = match https {
        true => (&proxies.https, "HTTPS_PROXY"),
        false => (&proxies.http, "HTTP_PROXY"),
    };
    let Some(text) = text else { return Ok(None) };
    let with_scheme = match text.contains("://") {
        true => text.clone(),
        false => format!("http://{text}"),
    };
    let fault = |proxy: String, reason| RequestError::Proxy { variable, proxy, reason };
    let url = Url::parse(&with_scheme);
    let url = url.map_err(|_| fault(String::new(), "it is not a URL"))?;
    let shown = || format!(" {}", name(&url));
    match url.scheme() {
        "http" | "https" => Ok(Some(url)),
        scheme if scheme.starts_with("socks") => {
            Err(fault(shown(), "SOCKS is not supported; name a proxy that speaks HTTP"))
        }
        _ => Err(fault(shown(), "expected http:// or https://")),
    }
}

/// Returns scheme, host and port of a proxy, for messages.
pub(super) fn name(proxy: &Url) -> String {
    redact(proxy).trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_speaks_http_and_its_password_is_kept() {
        for (text, expected) in [
            ("http://p.example:3128", Ok("http://p.example:3128")),
            ("https://u:SECRET@p.example/", Ok("https://p.example")),
            ("p.example:3128", Ok("http://p.example:3128")),
            ("u:SECRET@p.example", Ok("http://p.example")),
            ("socks5h://u:SECRET@p.example:1080", Err("socks5h://p.example:1080")),
            ("ftp://u:SECRET@p.example", Err("expected http")),
            ("http://u:SECRET@p example", Err("it is not a URL")),
        ] {
            let proxies = Proxies { https: Some(text.to_owned()), ..Proxies::default() };
            assert!(url(&proxies, false).unwrap().is_none());
            match (url(&proxies, true), expected) {
                (Ok(Some(found)), Ok(expected)) => assert_eq!(name(&found), expected, "{text}"),
                (Err(error), Err(part)) => {
                    let said = error.to_string();
                    assert!(said.contains(part) && said.contains("HTTPS_PROXY"), "{said}");
                    assert!(!said.contains("SECRET"), "{said}");
                }
                (other, _) => panic!("{text}: {other:?}"),
            }
        }
    }
}
