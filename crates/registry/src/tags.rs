//! The tags of a repository: looked up, listed and removed.
//!
//! **Source** — OCI distribution-spec 1.1 § Pulling manifests, § Listing Tags, § Deleting tags.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use xbuild_image::document::MAX_MANIFEST;
use xbuild_model::Reference;

use crate::auth::scope::Scope;
use crate::client::{Client, accepted_manifests};
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::request::Call;

/// Attempts at a look-up.
const ATTEMPTS: u32 = 3;
/// A registry that asks for a longer wait, or lets one request wait to the end, is not waited for: the work
/// can be done without it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a page of tags.
const MAX_PAGE: u64 = 16 << 20;
/// Pages that are read; each has a thousand tags.
const MAX_PAGES: usize = 1000;

/// What became of a tag that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, or was never there.
    Done,
    /// The registry removes nothing, or no tags.
    Unsupported,
}

impl Client {
    /// Returns the manifest of a tag or digest in the repository of `place`, as it is; `None` if the
    /// repository does not have it. No mirror is asked, and nothing is remembered.
    ///
    /// It gives up sooner than a pull: after a few attempts, and at once if the registry asks for a
    /// long wait.
    pub fn find_manifest(
        &self,
        place: &Reference,
        name: &str,
    ) -> Result<Option<Bytes>, RequestError> {
        let endpoint = Endpoint::for_push(place, &self.connections.options)?;
        let scope = Scope::pull(place.repository());
        let url = endpoint.manifest(place.repository(), name);
        let mut call = Call::new(&endpoint, &scope, Method::GET, url);
        call.headers = accepted_manifests();
        match self.look_up(call, MAX_MANIFEST) {
            Ok((_, bytes)) => Ok(Some(bytes)),
            Err(error) if matches!(error.status(), Some(404 | 410)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the tags of the repository of `place`, each once.
    pub fn tags(&self, place: &Reference) -> Result<BTreeSet<String>, RequestError> {
        let endpoint = Endpoint::for_push(place, &self.connections.options)?;
        let scope = Scope::pull(place.repository());
        let mut tags = BTreeSet::new();
        let mut next = Some(endpoint.tags(place.repository()));
        for _ in 0..MAX_PAGES {
            let Some(url) = next.take() else { break };
            let call = Call::new(&endpoint, &scope, Method::GET, url.clone());
            let (headers, bytes) = match self.look_up(call, MAX_PAGE) {
                Err(error) if error.status() == Some(404) => break,
                answer => answer?,
            };
            let known = tags.len();
            tags.extend(page(&bytes).ok_or(RequestError::Header {
                url: url.to_string(),
                header: "list of tags, or any",
            })?);
            // A registry that gives the same page again would never end.
            next = next_page(&headers, &url).filter(|_| tags.len() > known);
        }
        Ok(tags)
    }

    /// Removes a tag, or a manifest by its digest, from the repository of `place`.
    pub fn delete(&self, place: &Reference, name: &str) -> Result<Deletion, RequestError> {
        let endpoint = Endpoint::for_push(place, &self.connections.options)?;
        let scope = Scope::delete(place.repository());
        let url = endpoint.manifest(place.repository(), name);
        let call = Call::new(&endpoint, &scope, Method::DELETE, url);
        match self.connections.call(&call) {
            Ok(_) => Ok(Deletion::Done),
            Err(error) => match error.status() {
                Some(404) if !error.has_code("UNSUPPORTED") => Ok(Deletion::Done),
                Some(400 | 404 | 405 | 501) => Ok(Deletion::Unsupported),
                _ => Err(error),
            },
        }
    }

    fn look_up(&self, call: Call<'_>, limit: u64) -> Result<(HeaderMap, Bytes), RequestError> {
        let call = Call { once: true, ..call };
        let mut failures = 0;
        loop {
            let error = match self.connections.fetch(&call, limit) {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            failures += 1;
            let is_long = error.retry_after().is_some_and(|wait| wait > PATIENCE)
                || matches!(error, RequestError::Stalled { .. });
            if failures == ATTEMPTS || is_long || !error.is_retryable() {
                return Err(error);
            }
            self.connections.wait(call.endpoint, failures, &error);
        }
    }
}

/// Returns the tags of a page; `None` if it is none.
fn page(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let page: Page = serde_json::from_slice(bytes).ok()?;
    Some(page.tags.unwrap_or_default())
}

/// Returns the URL of the next page, on the same server. **Source** — RFC 8288.
fn next_page(headers: &HeaderMap, page: &Url) -> Option<Url> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (target, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = rest.split(';').any(|part| {
        part.trim().strip_prefix("rel=").is_some_and(|rel| rel.trim_matches('"') == "next")
    });
    let named = page.join(target).ok().filter(|_| is_next)?;
    // Behind a proxy, servers often name a host that is not theirs: only the query counts.
    let mut next = page.clone();
    next.set_query(named.query());
    Some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_on_the_same_server() {
        let page: Url = "https://r.example/v2/a/tags/list?n=1000".parse().unwrap();
        let next = |link: &str| {
            let headers = [(LINK, link.parse().unwrap())].into_iter().collect();
            next_page(&headers, &page).map(|url| url.to_string())
        };
        let expected = Some("https://r.example/v2/a/tags/list?n=2&last=x".to_owned());
        assert_eq!(next(r#"</v2/a/tags/list?n=2&last=x>; rel="next""#), expected);
        assert_eq!(next("<https://inside.example/v2/b?n=2&last=x>; rel=next"), expected);
        for none in [r#"</v2/a?n=2>; rel="prev""#, "", "</v2", "x; rel=next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
