//! The secrets for remotes: the user information of a URL, or a secret of the build whose name
//! holds the host.
//!
//! **Source** — Dockerfile reference § ADD, Adding private Git repositories; `docker buildx build`
//! reference § Git authentication; RFC 7617.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xbuild_model::reference::is_loopback;
use xbuild_model::remote::{GitSource, HttpSource, UserInfo};

use crate::error::FetchError;
use crate::options::FetchOptions;

/// Returns the `Authorization` header for a file, if there is any.
pub(crate) fn http(
    options: &FetchOptions,
    source: &HttpSource,
) -> Result<Option<String>, FetchError> {
    if let Some(user) = &source.user {
        return Ok(Some(basic(user)));
    }
    let host = host(&source.url);
    if !is_private(&source.url, host) {
        return Ok(None);
    }
    if let Some(header) = secret(options, &format!("HTTP_AUTH_HEADER_{host}"))? {
        return Ok(Some(header));
    }
    let token = secret(options, &format!("HTTP_AUTH_TOKEN_{host}"))?;
    Ok(token.map(|token| format!("Bearer {token}")))
}

/// Returns the `Authorization` header for a repository, if there is any.
pub(crate) fn git(
    options: &FetchOptions,
    source: &GitSource,
) -> Result<Option<String>, FetchError> {
    if let Some(user) = &source.user {
        return Ok(Some(basic(user)));
    }
    let host = host(&source.remote);
    let is_web = source.remote.starts_with("http://") || source.remote.starts_with("https://");
    if !is_web || !is_private(&source.remote, host) {
        return Ok(None);
    }
    for suffix in [format!(".{host}"), String::new()] {
        if let Some(header) = secret(options, &format!("GIT_AUTH_HEADER{suffix}"))? {
            return Ok(Some(header));
        }
        if let Some(password) = secret(options, &format!("GIT_AUTH_TOKEN{suffix}"))? {
            let name = "x-access-token".to_owned();
            return Ok(Some(basic(&UserInfo { name, password })));
        }
    }
    Ok(None)
}

/// Returns the beginning of a URL up to the path. A secret is bound to it.
pub(crate) fn origin(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |at| &url[..start + at])
}

fn host(url: &str) -> &str {
    let origin = origin(url);
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// Returns host and path of a remote, `URL` or `USER@HOST:PATH`, without user information and
/// query.
pub(crate) fn host_and_path(remote: &str) -> (&str, &str) {
    let (place, end) = match remote.split_once("://") {
        Some((_, rest)) => (rest, '/'),
        None => (remote, ':'),
    };
    let (host, path) = place.split_at(place.find(end).unwrap_or(place.len()));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    (host, path.split(['?', '#']).next().unwrap_or(path))
}

/// Returns whether nobody on the way can read a request.
fn is_private(url: &str, host: &str) -> bool {
    url.starts_with("https://") || is_loopback(host)
}

fn secret(options: &FetchOptions, id: &str) -> Result<Option<String>, FetchError> {
    let Some(secrets) = &options.secrets else { return Ok(None) };
    let found = secrets.secret(id).map_err(|source| FetchError::Secret { source })?;
    let Some(bytes) = found else { return Ok(None) };
    let text = String::from_utf8(bytes.0).ok().map(|text| text.trim().to_owned());
    match text.filter(|text| !text.is_empty() && !text.contains(|c: char| c.is_control())) {
        Some(text) => Ok(Some(text)),
        None => Err(FetchError::SecretText { id: id.to_owned() }),
    }
}

fn basic(user: &UserInfo) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", user.name, user.password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_no_secrets() {
        for (remote, host, path) in [
            ("https://u:p@h.example:8443/a/b?token=t#f", "h.example:8443", "/a/b"),
            ("ssh://git@h.example/a", "h.example", "/a"),
            ("git@h.example:a/b.git", "h.example", ":a/b.git"),
            ("https://h.example", "h.example", ""),
            ("", "", ""),
        ] {
            assert_eq!(host_and_path(remote), (host, path), "{remote}");
        }
    }

    #[test]
    fn secrets_are_bound_to_an_origin() {
        assert_eq!(origin("https://h.example:8443/a/b"), "https://h.example:8443");
        assert_eq!(host("https://h.example:8443/a/b"), "h.example:8443");
        assert_eq!(host("https://h.example"), "h.example");
        assert!(!is_private("http://h.example/", "h.example"));
        assert!(is_private("http://127.0.0.1:80/", "127.0.0.1:80"));
    }
}
