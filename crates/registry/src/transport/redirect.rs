//! The targets of redirects.

use reqwest::header::LOCATION;
use reqwest::{Response, Url};

use crate::error::RequestError;
use crate::transport::origin::redact;

/// Redirects that are followed: a content delivery network needs one or two.
pub(crate) const MAX_REDIRECTS: u32 = 10;

/// Returns the URL in the `Location` header of an answer; the header may be relative to the
/// request.
pub(crate) fn location(response: &Response) -> Result<Url, RequestError> {
    let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    text.and_then(|text| response.url().join(text).ok())
        .ok_or_else(|| RequestError::Header { url: redact(response.url()), header: "Location" })
}
