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
        progress: Option<&Progress>,
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
        let answer = self.exchange(request, progress).instrument(span.clone()).await;
        if let Ok(response) = &answer {
            span.record("status", response.status().as_u16());
        }
        answer
    }

    async fn exchange(
        &self,
        mut request: Request,
        progress: Option<&Progress>,
    ) -> Result<Response, RequestError> {
        // A proxy that compresses would change the bytes that are hashed.
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let url = request.url().clone();
        let client = self.client(url.scheme() == "https")?;
        let answer = self.watch(client.execute(request), progress).await;
        match answer {
            None => Err(self.stalled(&url)),
            Some(Ok(response)) => Ok(response),
            Some(Err(error)) => Err(failure(&url, error)),
        }
    }

    /// Returns the next bytes of a body, `None` at its end.
    pub(crate) async fn chunk(
        &self,
        response: &mut Response,
    ) -> Result<Option<Bytes>, RequestError> {
        match tokio::time::timeout(self.options.timeouts.stall, response.chunk()).await {
            Err(_) => Err(self.stalled(response.url())),
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(failure(response.url(), error)),
        }
    }

    /// Returns the whole body, which has at most `limit` bytes.
    pub(crate) async fn body(
        &self,
        mut response: Response,
        limit: u64,
    ) -> Result<Bytes, RequestError> {
        let too_long =
            |response: &Response| RequestError::TooLong { url: redact(response.url()), limit };
        if response.content_length().is_some_and(|length| length > limit) {
            return Err(too_long(&response));
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_long(&response));
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
        match self.body(response, MAX_ERROR).await {
            Ok(body) => Detail::of_body(&body),
            // The status is the error to report, not the missing explanation.
            Err(_) => Detail::default(),
        }
    }

    fn stalled(&self, url: &reqwest::Url) -> RequestError {
        RequestError::Stalled { url: redact(url), seconds: self.options.timeouts.stall.as_secs() }
    }

    /// Waits for `answer` while there are signs of life; `None` once there are none.
    async fn watch<T>(
        &self,
        answer: impl Future<Output = T>,
        progress: Option<&Progress>,
    ) -> Option<T> {
        let timeouts = self.options.timeouts;
        let Some(progress) = progress else {
            return tokio::time::timeout(timeouts.stall + timeouts.connect, answer).await.ok();
        };
        let tick = (timeouts.stall / 4).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut answer = std::pin::pin!(answer);
        let mut seen = (0, false);
        let mut since = Instant::now();
        loop {
            tokio::select! {
                answer = &mut answer => return Some(answer),
                () = tokio::time::sleep(tick) => {}
            }
            let complete = progress.complete.load(Ordering::Relaxed);
            let now = (progress.sent.load(Ordering::Relaxed), complete);
            if now != seen {
                seen = now;
                since = Instant::now();
            }
            let patience = if complete { timeouts.commit } else { timeouts.stall };
            if since.elapsed() > patience {
                return None;
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
