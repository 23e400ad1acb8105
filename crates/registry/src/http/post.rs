//! Sending a small document to a web server.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Url};

use crate::client::Client;
use crate::error::RequestError;
use crate::transport::exchange::Patience;
use crate::transport::origin::Origin;
use crate::transport::trail::Trail;

/// The most bytes of an answer that are read.
const MAX_ANSWER: u64 = 1 << 20;
/// The wait before the second attempt; it doubles with each further attempt.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// The document to send.
#[derive(Clone, Copy)]
pub struct PostRequest<'a> {
    /// An `http` or `https` URL without user information.
    pub url: &'a str,
    /// The `Content-Type`.
    pub content_type: &'a str,
    /// Further headers, which may hold secrets.
    pub headers: &'a [(String, String)],
    /// The bytes.
    pub body: &'a [u8],
    /// The time for all attempts together.
    pub patience: Duration,
}

impl std::fmt::Debug for PostRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostRequest").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// Sends a document and returns the body of the answer. What may pass is tried again while there
    /// is time. Redirects are not followed.
    ///
    /// **Errors** — within `patience`; a status other than 2xx is [`RequestError::Status`].
    pub fn post(&self, request: &PostRequest<'_>) -> Result<Bytes, RequestError> {
        let end = Instant::now() + request.patience;
        let mut delay = FIRST_DELAY;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // Its clock is that of the runtime, on which it has to begin.
            let attempt = async { tokio::time::timeout(left, self.attempt(request, left)).await };
            let answer = self.connections.block_on(attempt)?;
            let error = match answer {
                Ok(Ok(body)) => return Ok(body),
                Ok(Err(error)) => error,
                Err(_) => return Err(too_late(request)),
            };
            let wait = error.retry_after().unwrap_or(delay).max(delay);
            if !error.is_retryable() || wait >= end.saturating_duration_since(Instant::now()) {
                return Err(error);
            }
            self.connections.block_on(async { tokio::time::sleep(wait).await })?;
            delay *= 2;
        }
    }

    async fn attempt(
        &self,
        request: &PostRequest<'_>,
        mut left: Duration,
    ) -> Result<Bytes, RequestError> {
        let transport = &self.connections.requests.transport;
        let (url, origin) = place(request)?;
        let mut call = Request::new(Method::POST, url.clone());
        for (name, value) in request.headers {
            let setup = || RequestError::Setup { what: "a header" };
            let name = HeaderName::try_from(name).map_err(|_| setup())?;
            let mut value = HeaderValue::try_from(value).map_err(|_| setup())?;
            value.set_sensitive(true);
            call.headers_mut().insert(name, value);
        }
        let kind = HeaderValue::try_from(request.content_type);
        let kind = kind.map_err(|_| RequestError::Setup { what: "the type" })?;
        call.headers_mut().insert(CONTENT_TYPE, kind);
        *call.body_mut() = Some(request.body.to_vec().into());
        let trail = Trail::asked(url, origin);
        let response = transport.send(call, Patience::Left(&mut left), &trail).await?;
        match response.status().is_success() {
            true => transport.body(response, MAX_ANSWER).await,
            false => Err(transport.refusal(response).await),
        }
    }
}

fn place(request: &PostRequest<'_>) -> Result<(Url, Origin), RequestError> {
    let setup = || RequestError::Setup { what: "the URL" };
    let url = Url::parse(request.url).map_err(|_| setup())?;
    let origin = Origin::of(&url).ok_or_else(setup)?;
    Ok((url, origin))
}

fn too_late(request: &PostRequest<'_>) -> RequestError {
    match place(request) {
        Ok((url, _)) => RequestError::Stalled {
            url: crate::transport::origin::redact(&url),
            what: "gave no whole answer",
            seconds: request.patience.as_secs(),
        },
        Err(error) => error,
    }
}
