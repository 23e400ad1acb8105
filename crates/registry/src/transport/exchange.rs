//! One HTTP exchange: connections, TLS, proxies, and the bounds of time and size.
//! [`crate::request`] follows redirects and makes further attempts.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use reqwest::{Request, Response};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tracing::field::Empty;
use tracing::{Instrument as _, debug_span};

use crate::detail::Detail;
use crate::error::RequestError;
use crate::options::{ClientOptions, Proxies};
use crate::transport::incoming::Incoming;
use crate::transport::origin::redact;
use crate::transport::retry::retry_after;

/// Bytes of the body of a failure that are read.
pub(crate) const MAX_ERROR: u64 = 64 << 10;

/// Hosts that are always reached directly.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

#[derive(Debug)]
pub(crate) struct Transport {
    options: Arc<ClientOptions>,
    /// For `http` URLs. It trusts no certificate, so the system's are not read.
    plain: OnceLock<reqwest::Client>,
    /// For `https` URLs.
    tls: OnceLock<reqwest::Client>,
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
        Self { options, plain: OnceLock::new(), tls: OnceLock::new() }
    }

    /// Sends a request and returns the answer, of any status, without its body.
    pub(crate) async fn send(
        &self,
        request: Request,
        patience: Patience<'_>,
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
        let answer = self.exchange(request, patience).instrument(span.clone()).await;
        if let Ok(response) = &answer {
            span.record("status", response.status().as_u16());
        }
        answer
    }

    async fn exchange(
        &self,
        mut request: Request,
        patience: Patience<'_>,
    ) -> Result<Response, RequestError> {
        // A proxy that compresses would change the bytes that are hashed.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let url = request.url().clone();
        let client = self.client(url.scheme() == "https")?;
        let answer = client.execute(request);
        let answer = match patience {
            Patience::While(progress) => self.watch(&url, answer, progress).await?,
            Patience::Left(left) => {
                let (given, begin) = (*left, Instant::now());
                let answer = tokio::time::timeout(given, answer).await;
                *left = given.saturating_sub(begin.elapsed());
                let what = "sent no whole head of an answer";
                answer.map_err(|_| stalled(&url, what, self.options.timeouts.head))?
            }
        };
        answer.map_err(|error| failure(&url, error))
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
                Ok(Err(error)) => return Err(failure(response.url(), error)),
                Ok(Ok(None)) => return Ok(None),
                Ok(Ok(Some(chunk))) => (begin.elapsed(), Some(chunk)),
                Err(_) => (left, None),
            };
            let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
            if !pace.goes_on(waited, bytes, window) {
                return Err(stalled(response.url(), "sent next to nothing of a file", window));
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
        let url = response.url().clone();
        let whole = self.whole_body(&mut response, limit);
        match tokio::time::timeout(time, whole).await {
            Ok(body) => body,
            Err(_) => Err(stalled(&url, "sent no whole document", time)),
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
            response.chunk().await.map_err(|error| failure(response.url(), error))?
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
    async fn watch<T>(
        &self,
        url: &reqwest::Url,
        answer: impl Future<Output = T>,
        progress: &Progress,
    ) -> Result<T, RequestError> {
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
                return Err(stalled(url, what, patience));
            }
        }
    }

    fn client(&self, https: bool) -> Result<&reqwest::Client, RequestError> {
        let cell = if https { &self.tls } else { &self.plain };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let roots = if https { self.roots()? } else { rustls::RootCertStore::empty() };
        let client = self.build(roots)?;
        // Two threads may each have built one; the first is kept and pools the connections.
        Ok(cell.get_or_init(|| client))
    }

    /// Builds a client. No other function does, so all connections have the same rules.
    fn build(&self, roots: rustls::RootCertStore) -> Result<reqwest::Client, RequestError> {
        let setup = |what| move |_| RequestError::Setup { what };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| RequestError::Setup { what: "TLS" })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("xbuild/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.options.timeouts.connect)
            .no_proxy();
        let Proxies { http, https, bypass } = &self.options.proxies;
        let bypass = reqwest::NoProxy::from_string(&format!("{LOOPBACK},{bypass}"));
        if let Some(url) = http {
            let proxy = reqwest::Proxy::http(url).map_err(setup("the proxy for http"))?;
            builder = builder.proxy(proxy.no_proxy(bypass.clone()));
        }
        if let Some(url) = https {
            let proxy = reqwest::Proxy::https(url).map_err(setup("the proxy for https"))?;
            builder = builder.proxy(proxy.no_proxy(bypass));
        }
        builder.build().map_err(setup("connections"))
    }

    /// Returns the certificates to trust: the system's, or Mozilla's if the system has none (as a
    /// container made from scratch), and the extra ones.
    fn roots(&self) -> Result<rustls::RootCertStore, RequestError> {
        let mut roots = rustls::RootCertStore::empty();
        let system = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(system.certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for pem in &self.options.extra_roots {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let setup = RequestError::Setup { what: "an extra certificate" };
                let Ok(certificate) = certificate else { return Err(setup) };
                if roots.add(certificate).is_err() {
                    return Err(setup);
                }
            }
        }
        Ok(roots)
    }
}

fn stalled(url: &reqwest::Url, what: &'static str, time: Duration) -> RequestError {
    RequestError::Stalled { url: redact(url), what, seconds: time.as_secs() }
}

/// Converts an error of the HTTP library, whose text would show the whole URL.
fn failure(url: &reqwest::Url, error: reqwest::Error) -> RequestError {
    let url = redact(url);
    let source = error.without_url();
    if source.is_connect() {
        RequestError::Connect { url, source }
    } else {
        RequestError::Broken { url, source }
    }
}
