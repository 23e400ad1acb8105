//! One request of the distribution API: authentication, redirects, and attempts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response, Url};

use crate::auth::authorizer::{Authorizer, Refusal, Refusals};
use crate::auth::scope::Scope;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::options::{ClientOptions, Retries, Timeouts};
use crate::transport::exchange::{Patience, Progress, Transport};
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::Reach;
use crate::transport::retry::{Attempts, Gate, Waits};
use crate::transport::trail::Trail;
use crate::warning::RegistryWarning;

/// A request.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) scope: &'a Scope,
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The reach of `url` if an answer of the registry named it.
    pub(crate) led: Option<Reach>,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload<'a>,
    /// Statuses besides 200 to 299 that are not failures.
    pub(crate) accept: &'a [u16],
    /// Whether there is one attempt only.
    pub(crate) once: bool,
    /// The attempts, unless they are those of the client's options.
    pub(crate) retries: Option<Retries>,
}

/// The body of a request.
pub(crate) enum Payload<'a> {
    Empty,
    Bytes(Bytes),
    /// Makes a new body each time one has to be sent. [`Requests::call`] makes one attempt only.
    Stream(&'a (dyn Fn() -> Upload + Sync)),
}

/// A body that is sent while it is read.
pub(crate) struct Upload {
    pub(crate) body: reqwest::Body,
    pub(crate) progress: Arc<Progress>,
}

impl<'a> Call<'a> {
    /// Returns a request without body and headers.
    pub(crate) fn new(endpoint: &'a Endpoint, scope: &'a Scope, method: Method, url: Url) -> Self {
        let headers = HeaderMap::new();
        let (payload, accept) = (Payload::Empty, &[][..]);
        Self {
            endpoint,
            scope,
            method,
            url,
            led: None,
            headers,
            payload,
            accept,
            once: false,
            retries: None,
        }
    }
}

/// The access of one attempt to one registry.
struct Access {
    endpoint: Endpoint,
    scope: Scope,
    origin: Origin,
    header: Option<HeaderValue>,
    refusals: Refusals,
}

impl Access {
    fn of(endpoint: Endpoint, scope: Scope) -> Self {
        let origin = endpoint.origin().clone();
        Self { endpoint, scope, origin, header: None, refusals: Refusals::default() }
    }

    /// Returns the access to a registry that another one has led to. Its own credentials count, or
    /// none: those of the first registry stay there.
    fn elsewhere(trail: &Trail) -> Self {
        let path = trail.url.path().strip_prefix("/v2/").unwrap_or_default();
        let parts = ["/manifests/", "/blobs/"];
        let repository = parts.iter().find_map(|part| Some(path.rsplit_once(part)?.0));
        let scope = Scope::pull(repository.unwrap_or_default());
        Self::of(Endpoint::at(&trail.url, &trail.origin), scope)
    }
}

#[derive(Debug)]
pub(crate) struct Requests {
    options: Arc<ClientOptions>,
    pub(crate) transport: Arc<Transport>,
    authorizer: Authorizer,
    gate: Gate,
    waits: Waits,
    /// Whether registries speak TLS that need not, by name.
    speak_tls: Mutex<HashMap<String, bool>>,
}

impl Requests {
    pub(crate) fn new(options: Arc<ClientOptions>) -> Self {
        let transport = Arc::new(Transport::new(Arc::clone(&options)));
        let authorizer = Authorizer::new(Arc::clone(&options), Arc::clone(&transport));
        let (gate, waits, speak_tls) = Default::default();
        Self { options, transport, authorizer, gate, waits, speak_tls }
    }

    /// Makes a request until it succeeds, or another attempt would not help.
    pub(crate) async fn call(&self, call: &Call<'_>) -> Result<Response, RequestError> {
        self.call_counted(call, &mut Attempts::default()).await
    }

    /// As [`Requests::call`], after attempts that failed already.
    pub(crate) async fn call_counted(
        &self,
        call: &Call<'_>,
        attempts: &mut Attempts,
    ) -> Result<Response, RequestError> {
        loop {
            let error = match self.attempt(call).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let once = call.once || matches!(call.payload, Payload::Stream(_));
            let retries = call.retries.unwrap_or(self.options.retries);
            if !attempts.again(&retries, &error) || once {
                return Err(error);
            }
            self.wait(call.endpoint, attempts.failures(), &error).await;
        }
    }

    /// Waits after `failures` failures in a row. If the registry limits the rate, all other
    /// requests to it wait too.
    pub(crate) async fn wait(&self, endpoint: &Endpoint, failures: u32, error: &RequestError) {
        let delay = self.options.retries.delay(failures, error.retry_after());
        if error.is_limit() {
            self.gate.close(self.actual(endpoint).origin(), delay);
        }
        self.pause(endpoint.registry(), delay, error).await;
    }

    /// Waits before a server, by host and port, is asked again, and tells the user if that takes a
    /// while.
    pub(crate) async fn pause(&self, server: &str, delay: Duration, error: &RequestError) {
        if self.waits.begin(server, delay) {
            let (server, reason) = (server.to_owned(), error.to_string());
            let seconds = delay.as_secs();
            self.options.warn(&RegistryWarning::ServerWaits { server, seconds, reason });
        }
        tokio::time::sleep(delay).await;
    }

    /// Returns the endpoint with the scheme that the registry was found to speak.
    pub(crate) fn actual(&self, endpoint: &Endpoint) -> Endpoint {
        match self.speaks_tls(endpoint) {
            Some(true) => endpoint.over_tls(),
            _ => endpoint.clone(),
        }
    }

    fn speaks_tls(&self, endpoint: &Endpoint) -> Option<bool> {
        let known = self.speak_tls.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(endpoint.registry()).copied()
    }

    fn note_tls(&self, endpoint: &Endpoint, speaks: bool) {
        let mut known = self.speak_tls.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(endpoint.registry().to_owned(), speaks);
    }

    /// Makes one attempt. The first request to a registry that may be spoken to over plain HTTP shows
    /// whether it speaks TLS.
    pub(crate) async fn attempt(&self, call: &Call<'_>) -> Result<Response, RequestError> {
        let endpoint = call.endpoint;
        if !endpoint.may_speak_tls() || self.speaks_tls(endpoint).is_some() {
            return self.attempt_at(&self.actual(endpoint), call).await;
        }
        let first = self.attempt_at(endpoint, call).await;
        // A server that speaks TLS answers so, or closes the connection.
        let may_be = matches!(
            first,
            Err(RequestError::Connect { .. }
                | RequestError::Broken { .. }
                | RequestError::Status { status: 400, .. })
        );
        if !may_be {
            self.note_tls(endpoint, false);
            return first;
        }
        match self.attempt_at(&endpoint.over_tls(), call).await {
            Err(
                RequestError::Connect { .. }
                | RequestError::Broken { .. }
                | RequestError::Stalled { .. }
                | RequestError::Tls { is_plain: true, .. },
            ) => first,
            second => {
                self.note_tls(endpoint, true);
                second
            }
        }
    }

    /// Makes one attempt: follows redirects, and tries all credentials.
    async fn attempt_at(
        &self,
        endpoint: &Endpoint,
        call: &Call<'_>,
    ) -> Result<Response, RequestError> {
        self.gate.pass(endpoint.origin()).await;
        let url = call.url.clone();
        let mut trail = match call.led {
            None => Trail::asked(endpoint.adjust(url), endpoint.origin().clone()),
            Some(reach) => {
                let from = format!("an upload to {}", endpoint.registry());
                Trail::led(from, endpoint.origin(), reach, url)?
            }
        };
        let mut own = Access::of(endpoint.clone(), call.scope.clone());
        if trail.origin == *endpoint.origin() {
            own.header = self.authorizer.header(endpoint, call.scope).await?;
        }
        // The access to the registry that the request was redirected to.
        let mut guest: Option<Access> = None;
        let mut left = patience(call, &self.options.timeouts);
        loop {
            // Credentials belong to a registry: no other origin gets them or may ask for them.
            let access = match trail.origin == own.origin {
                true => Some(&mut own),
                false => guest.as_mut().filter(|guest| guest.origin == trail.origin),
            };
            let header = access.as_ref().and_then(|access| access.header.as_ref());
            let response = self.exchange(call, &trail, header, &mut left).await?;
            let status = response.status().as_u16();
            match status {
                200..=299 => return Ok(response),
                _ if call.accept.contains(&status) => return Ok(response),
                301 | 302 | 303 | 307 | 308 if is_safe(&call.method) => {
                    trail.follow(&response)?;
                }
                // Only these keep method and body.
                307 | 308 => {
                    let from = redact(&trail.url);
                    trail.follow(&response)?;
                    if !own.origin.may_send_to(&trail.origin) {
                        let reason = "blobs are sent to other hosts over https only";
                        let target = redact(&trail.url);
                        return Err(RequestError::Target { url: from, target, reason });
                    }
                }
                401 if access.is_none() && is_safe(&call.method) => {
                    let mut access = Access::elsewhere(&trail);
                    self.log_in(&mut access, response).await?;
                    guest = Some(access);
                }
                401 | 403 => match access {
                    Some(access) => self.log_in(access, response).await?,
                    None => return Err(self.transport.refusal(response).await),
                },
                _ => return Err(self.transport.refusal(response).await),
            }
        }
    }

    /// Gets another header after a refusal.
    async fn log_in(&self, access: &mut Access, answer: Response) -> Result<(), RequestError> {
        let refusal = Refusal::read(answer, &self.transport).await;
        let Access { endpoint, scope, header, refusals, .. } = access;
        let authorizer = &self.authorizer;
        let new = authorizer.refused(endpoint, scope, header.as_ref(), refusal, refusals).await?;
        *header = Some(new);
        Ok(())
    }

    /// Adds the headers that the user has set for a registry.
    fn add_headers(&self, headers: &mut HeaderMap, origin: &Origin) {
        let host = self.options.host(&origin.name());
        for (name, value) in host.into_iter().flat_map(|host| &host.headers) {
            let parsed = (name.parse::<HeaderName>(), HeaderValue::from_str(value.expose()));
            if let (Ok(name), Ok(mut value)) = parsed {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
    }

    async fn exchange(
        &self,
        call: &Call<'_>,
        trail: &Trail,
        authorization: Option<&HeaderValue>,
        left: &mut Duration,
    ) -> Result<Response, RequestError> {
        let mut request = Request::new(call.method.clone(), trail.url.clone());
        request.headers_mut().extend(call.headers.clone());
        self.add_headers(request.headers_mut(), &trail.origin);
        request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value.clone())));
        let mut progress = None;
        match &call.payload {
            Payload::Empty if is_safe(&call.method) => {}
            // Some servers demand the length of every body (411), also of an empty one.
            Payload::Empty => {
                request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            }
            Payload::Bytes(bytes) => *request.body_mut() = Some(bytes.clone().into()),
            Payload::Stream(make) => {
                let upload = make();
                *request.body_mut() = Some(upload.body);
                progress = Some(upload.progress);
            }
        }
        let patience = match &progress {
            Some(progress) => Patience::While(progress),
            None => Patience::Left(left),
        };
        self.transport.send(request, patience, trail).await
    }
}

/// Returns the time for the heads of all answers to one attempt.
fn patience(call: &Call<'_>, timeouts: &Timeouts) -> Duration {
    // An empty PUT ends an upload: the registry hashes the blob.
    match (&call.method, &call.payload) {
        (&Method::PUT, Payload::Empty) => timeouts.commit,
        _ => timeouts.head,
    }
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
