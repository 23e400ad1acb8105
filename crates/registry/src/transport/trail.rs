//! The way of a request from the URL that was asked for, over redirects.

use reqwest::header::LOCATION;
use reqwest::{Response, Url};

use crate::error::RequestError;
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::{Class, Reach};

/// Redirects that are followed: a content delivery network needs one or two.
const MAX_REDIRECTS: u32 = 10;

/// The place where a request is on its way.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) url: Url,
    pub(crate) origin: Origin,
    pub(crate) reach: Reach,
    /// The name of what led to `url`, redacted; empty if the user named it.
    from: String,
    redirects: u32,
}

impl Trail {
    /// Begins at a URL that the user named.
    pub(crate) fn asked(url: Url, origin: Origin) -> Self {
        Self { url, origin, reach: Reach::Any, from: String::new(), redirects: 0 }
    }

    /// Begins at a URL that the server `by` named in `from`. If it names its own host by `http`
    /// though it is spoken to over `https`, it is asked over `https`.
    ///
    /// **Errors** — [`RequestError::Target`] and [`RequestError::Reach`].
    pub(crate) fn led(
        from: String,
        by: &Origin,
        reach: Reach,
        url: Url,
    ) -> Result<Self, RequestError> {
        let url = by.meant(url);
        let origin = by.may_lead_to(&url).map_err(|reason| RequestError::Target {
            url: from.clone(),
            target: redact(&url),
            reason,
        })?;
        let trail = Self { url, origin, reach, from, redirects: 0 };
        match Class::of_host(&trail.url) {
            Some(class) if !reach.allows(class) => {
                let address = trail.url.host_str().unwrap_or_default().to_owned();
                Err(trail.out_of_reach(address, class))
            }
            _ => Ok(trail),
        }
    }

    /// Goes on to the target of a redirect.
    ///
    /// **Errors** — those of [`Trail::led`], and [`RequestError::Header`].
    pub(crate) fn follow(&mut self, response: &Response) -> Result<(), RequestError> {
        let next = location(response)?;
        let redirects = self.redirects + 1;
        if redirects > MAX_REDIRECTS {
            let (url, target) = (redact(&self.url), redact(&next));
            return Err(RequestError::Target { url, target, reason: "too many redirects" });
        }
        let reach = reach_after(response);
        let next = Self::led(redact(&self.url), &self.origin, reach, next)?;
        *self = Self { redirects, ..next };
        Ok(())
    }

    /// Returns the error for an address that the request may not go to.
    pub(crate) fn out_of_reach(&self, address: String, class: Class) -> RequestError {
        let (url, target) = (self.from.clone(), redact(&self.url));
        RequestError::Reach { url, target, address, kind: class.words() }
    }
}

/// Notes in an answer what the server that gave it may lead to.
pub(crate) fn note(response: &mut Response, reach: Reach) {
    response.extensions_mut().insert(reach);
}

/// Returns what the server that gave an answer may lead to.
pub(crate) fn reach_after(response: &Response) -> Reach {
    response.extensions().get().copied().unwrap_or(Reach::From(Class::Public))
}

/// Returns the URL in the `Location` header of an answer; the header may be relative to the
/// request.
pub(crate) fn location(response: &Response) -> Result<Url, RequestError> {
    let text = response.headers().get(LOCATION).map(|value| in_ascii(value.as_bytes()));
    text.and_then(|text| response.url().join(&text).ok())
        .ok_or_else(|| RequestError::Header { url: redact(response.url()), header: "Location" })
}

/// Returns the text of a header with the bytes from 0x80 on percent-encoded, whatever their
/// encoding is: servers mean the bytes of their file names.
fn in_ascii(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte.is_ascii() {
            true => text.push(char::from(*byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_become_ascii() {
        let base: Url = "https://r.example/v2/a/blobs/x".parse().unwrap();
        for (bytes, expected) in [
            (&b"/b/caf\xc3\xa9?x=1"[..], "https://r.example/b/caf%C3%A9?x=1"),
            (b"/b/caf\xe9", "https://r.example/b/caf%E9"),
            (b"https://cdn.example/%C3%A9?s=%2B", "https://cdn.example/%C3%A9?s=%2B"),
        ] {
            assert_eq!(base.join(&in_ascii(bytes)).unwrap().as_str(), expected);
        }
    }
}
