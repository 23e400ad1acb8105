//! One HTTP exchange, and its bounds of time and size.
//! [`crate::request`] follows redirects and makes further attempts.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::{Request, Response};
use tracing::field::Empty;
use tracing::{Instrument as _, debug_span};

use crate::detail::Detail;
use crate::error::{Reason, RequestError, tls_error};
use crate::options::ClientOptions;
use crate::transport::clients::{Clients, Route};
use crate::transport::incoming::Incoming;
use crate::transport::names::Refused;
use crate::transport::origin::redact;
use crate::transport::reach::Class;
use crate::transport::retry::retry_after;
use crate::transport::trail::{Trail, note};

/// Bytes of the body of a failure that are read.
pub(crate) const MAX_ERROR: u64 = 64 << 10;

#[derive(Debug)]
pub(crate) struct Transport {
    options: Arc<ClientOptions>,
    clients: Clients,
}

/// The time that an exchange may take until the head of the answer is here.
#[derive(Debug)]
pub(crate) enum Patience<'a> {
    /// This time for connection, request and head together. The exchange takes from it what it
    /// needs, so that all exchanges of a chain of redirects share it.
    Left(&'a mut Duration),
    /// As long as the body of the request moves on.
    While(&'a Progress),
}

/// The progress of sending a body.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Bytes handed to the connection so far.
    pub(crate) sent: AtomicU64,
    /// Whether these are all bytes.
    pub(crate) complete: AtomicBool,
}

impl Transport {
    pub(crate) fn new(options: Arc<ClientOptions>) -> Self {
        let clients = Clients::new(Arc::clone(&options));
        Self { options, clients }
    }

    /// Sends a request to where `trail` is and returns the answer, of any status, without its body.
    ///
    /// The address that is connected to is in reach of `trail`. Where a proxy connects, only the
    /// text of the URL was compared, by `trail` itself.
    pub(crate) async fn send(
        &self,
        request: Request,
        patience: Patience<'_>,
        trail: &Trail,
    ) -> Result<Response, RequestError> {
        // The query is left out, since it may be signed, and so are headers.
        let url = request.url();
        let span = debug_span!(
            "request",
            method = request.method().as_str(),
            host = url.host_str(),
            port = url.port(),
            path = url.path(),
            status = Empty,
        );
        let answer = self.exchange(request, patience, trail).instrument(span.clone()).await;
        if let Ok(response) = &answer {
            span.record("status", response.status().as_u16());
        }
        answer
    }

    async fn exchange(
        &self,
        mut request: Request,
        patience: Patience<'_>,
        trail: &Trail,
    ) -> Result<Response, RequestError> {
        // A proxy that compresses would change the bytes that are hashed.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let url = request.url().clone();
        let route = self.clients.route(&url, trail.reach);
        let client = self.clients.get(route, &url)?;
        let answer = client.execute(request);
        let answer = match patience {
            Patience::While(progress) => {
                let watched = self.watch(answer, progress).await;
                watched
                    .map_err(|(what, time)| stalled(self.clients.shown(route, &url), what, time))?
            }
            Patience::Left(left) => {
                let (given, begin) = (*left, Instant::now());
                let answer = tokio::time::timeout(given, answer).await;
                *left = given.saturating_sub(begin.elapsed());
                let what = "sent no whole head of an answer";
                answer.map_err(|_| {
                    stalled(self.clients.shown(route, &url), what, self.options.timeouts.head)
                })?
            }
        };
        let mut response = answer.map_err(|error| match Refused::among(&error) {
            Some(Refused { address }) => {
                trail.out_of_reach(address.to_string(), Class::of(address))
            }
            None => failure(self.clients.shown(route, &url), error),
        })?;
        let class = match (route, response.remote_addr()) {
            (Route::Direct(_), Some(address)) => Class::of(address.ip()),
            // Only the proxy knows the address.
            _ => Class::of_host(&url).unwrap_or(Class::Public),
        };
        note(&mut response, trail.reach.narrowed(class));
        Ok(response)
    }

    /// Returns the next bytes of a body, `None` at its end.
    pub(crate) async fn chunk(
        &self,
        incoming: &mut Incoming,
    ) -> Result<Option<Bytes>, RequestError> {
        let window = self.options.timeouts.stall;
        let Incoming { response, pace } = incoming;
        loop {
            let begin = Instant::now();
            let left = pace.left(window);
            let (waited, chunk) = match tokio::time::timeout(left, response.chunk()).await {
                Ok(Err(error)) => return Err(failure(redact(response.url()), error)),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) => (begin.elapsed(), Some(chunk)),
                Err(_) => (left, None),
            };
            let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
            if !pace.goes_on(waited, bytes, window) {
                let url = redact(response.url());
                return Err(stalled(url, "sent next to nothing of a file", window));
            }
            if chunk.is_some() {
                return Ok(chunk);
            }
        }
    }

    /// Returns the whole body, which has at most `limit` bytes.
    pub(crate) async fn body(&self, response: Response, limit: u64) -> Result<Bytes, RequestError> {
        self.body_within(response, limit, self.options.timeouts.head).await
    }

    async fn body_within(
        &self,
        mut response: Response,
        limit: u64,
        time: Duration,
    ) -> Result<Bytes, RequestError> {
        let url = redact(response.url());
        let whole = self.whole_body(&mut response, limit);
        match tokio::time::timeout(time, whole).await {
            Ok(body) => body,
            Err(_) => Err(stalled(url, "sent no whole document", time)),
        }
    }

    async fn whole_body(&self, response: &mut Response, limit: u64) -> Result<Bytes, RequestError> {
        let too_long =
            |response: &Response| RequestError::TooLong { url: redact(response.url()), limit };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long(response));
        }
        let mut body = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| failure(redact(response.url()), error))?
        {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_long(response));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.into())
    }

    /// Returns the error for an answer with an unexpected status.
    pub(crate) async fn refusal(&self, response: Response) -> RequestError {
        let url = redact(response.url());
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let detail = self.detail(response).await;
        RequestError::Status { url, status, detail, retry_after }
    }

    /// Returns the server's explanation of a failure; empty if it cannot be read.
    pub(crate) async fn detail(&self, response: Response) -> Detail {
        // It is a courtesy: do not wait for it as for an answer.
        match self.body_within(response, MAX_ERROR, self.options.timeouts.connect).await {
            Ok(body) => Detail::of_body(&body),
            // The status is the error to report, not the missing explanation.
            Err(_) => Detail::default(),
        }
    }

    /// Waits for `answer` while the body of the request moves on.
    ///
    /// **Errors** — what the server failed to do, and in which time.
    async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: &Progress,
    ) -> Result<T, (&'static str, Duration)> {
        let timeouts = self.options.timeouts;
        let tick = (timeouts.stall / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut answer = std::pin::pin!(answer);
        let mut seen = (0, false);
        let mut since = Instant::now();
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                () = tokio::time::sleep(tick) => {}
            }
            let complete = progress.complete.load(Ordering::Relaxed);
            let now = (progress.sent.load(Ordering::Relaxed), complete);
            if now != seen {
                seen = now;
                since = Instant::now();
            }
            let (patience, what) = match complete {
                true => (timeouts.commit, "sent no whole answer to an upload"),
                false => (timeouts.stall, "took nothing of an upload"),
            };
            if since.elapsed() > patience {
                return Err((what, patience));
            }
        }
    }
}

fn stalled(url: String, what: &'static str, time: Duration) -> RequestError {
    RequestError::Stalled { url, what, seconds: time.as_secs() }
}

/// Converts an error of the HTTP library, whose text would show the whole URL.
fn failure(url: String, error: reqwest::Error) -> RequestError {
    let source = error.without_url();
    if let Some(tls) = tls_error(&source) {
        let is_plain = matches!(tls, rustls::Error::InvalidMessage(_));
        return RequestError::Tls { url, is_plain, source: Box::new(tls) };
    }
    if source.is_connect() {
        RequestError::Connect { url, source: Reason::new(source) }
    } else {
        RequestError::Broken { url, source: Reason::new(source) }
    }
}
