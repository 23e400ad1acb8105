//! The `Authorization` header of a request, and the tokens for it.
//!
//! Headers are kept by origin and scope: a token for one repository is not sent with a request for
//! another, and no token leaves its origin. **Source** — distribution, token authentication
//! specification and OAuth2 token authentication.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, Url};
use serde::Deserialize;
use xbuild_image::printable::printable;

use crate::auth::challenge::Challenge;
use crate::auth::credential::Credential;
use crate::detail::Detail;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::options::ClientOptions;
use crate::transport::exchange::{Patience, Transport};
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::Reach;
use crate::transport::trail::{Trail, location, reach_after};

/// Bytes of a token server's answer that are read.
const MAX_TOKEN: u64 = 64 << 10;
/// Seconds that a token is valid if the server does not say. **Source** — the specification.
const DEFAULT_LIFE: u64 = 60;
/// Seconds that a token is used at most, even if the server says more: a day.
const MAX_LIFE: u64 = 24 * 60 * 60;

/// The repository and the actions of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    pub(crate) repository: String,
    pub(crate) push: bool,
    /// A second repository, which is read: the source of a mount.
    pub(crate) source: Option<String>,
}

impl Scope {
    pub(crate) fn pull(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: false, source: None }
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self { repository: repository.to_owned(), push: true, source: None }
    }

    pub(crate) fn mount(repository: &str, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..Self::push(repository) }
    }

    fn parameters(&self) -> Vec<String> {
        let actions = if self.push { "pull,push" } else { "pull" };
        let own = format!("repository:{}:{actions}", self.repository);
        let source = self.source.iter().map(|name| format!("repository:{name}:pull"));
        [own].into_iter().chain(source).collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parameters().join(" "))
    }
}

#[derive(Debug)]
pub(crate) struct Authorizer {
    options: Arc<ClientOptions>,
    transport: Arc<Transport>,
    /// The lock of an origin is held while a token is fetched: threads that need the same token
    /// wait for it.
    origins: Mutex<HashMap<Origin, Arc<tokio::sync::Mutex<State>>>>,
}

#[derive(Debug, Default)]
struct State {
    /// The last challenge of the origin; `None` if it never sent one.
    challenge: Option<(Challenge, Reach)>,
    headers: HashMap<Scope, Header>,
}

#[derive(Debug)]
struct Header {
    value: HeaderValue,
    until: Option<Instant>,
}

impl Header {
    fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

impl Authorizer {
    pub(crate) fn new(options: Arc<ClientOptions>, transport: Arc<Transport>) -> Self {
        Self { options, transport, origins: Mutex::default() }
    }

    /// Returns the header to send; `None` until the registry asks for one.
    pub(crate) async fn header(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, RequestError> {
        let state = self.state(endpoint);
        let mut state = state.lock().await;
        self.current(&mut state, endpoint, scope).await
    }

    /// Returns the header to send after a 401 to a request with the header `rejected`; `None` if no
    /// other header can be made.
    pub(crate) async fn challenged(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
        rejected: Option<&HeaderValue>,
        answer: &Response,
    ) -> Result<Option<HeaderValue>, RequestError> {
        let state = self.state(endpoint);
        let mut state = state.lock().await;
        let challenge = Challenge::of(answer.headers()).map_err(|challenge| {
            RequestError::Challenge { url: redact(answer.url()), challenge }
        })?;
        // Another thread may have fetched a new token while this one waited for the lock.
        let same = state.headers.get(scope).is_none_or(|header| Some(&header.value) == rejected);
        if same {
            state.headers.remove(scope);
        }
        state.challenge = Some((challenge, reach_after(answer)));
        let header = self.current(&mut state, endpoint, scope).await?;
        Ok(header.filter(|header| Some(header) != rejected))
    }

    fn state(&self, endpoint: &Endpoint) -> Arc<tokio::sync::Mutex<State>> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(origins.entry(endpoint.origin().clone()).or_default())
    }

    async fn current(
        &self,
        state: &mut State,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, RequestError> {
        let Some((challenge, reach)) = &state.challenge else { return Ok(None) };
        if let Some(header) = state.headers.get(scope).filter(|header| header.is_fresh()) {
            return Ok(Some(header.value.clone()));
        }
        let credential = self.credential(endpoint, scope)?;
        let header = match (challenge, credential) {
            (_, Some(Credential::Bearer { token })) => {
                Some(Header { value: bearer(token.expose(), endpoint)?, until: None })
            }
            (Challenge::Basic, Some(Credential::Basic { user, password })) => {
                Some(Header { value: basic(&user, password.expose()), until: None })
            }
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service }, credential) => {
                let trail = check_realm(endpoint, realm, *reach)?;
                Some(self.fetch(endpoint, scope, &trail, service.as_deref(), credential).await?)
            }
        };
        let value = header.as_ref().map(|header| header.value.clone());
        state.headers.extend(header.map(|header| (scope.clone(), header)));
        Ok(value)
    }

    /// Looks the credential up. A helper may take seconds, which holds up nobody else: each request
    /// is polled by the thread that makes it, see [`Connections`](crate::connections::Connections).
    fn credential(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<Credential>, RequestError> {
        let registry = || endpoint.registry().to_owned();
        let credential = self
            .options
            .credentials
            .lookup(endpoint.registry(), &scope.repository)
            .map_err(|source| RequestError::Credentials { registry: registry(), source })?;
        let readable = !endpoint.origin().is_https()
            && !endpoint.origin().is_loopback()
            && !self.options.insecure_credentials;
        if credential.is_some() && readable {
            return Err(RequestError::PlainCredentials { registry: registry() });
        }
        Ok(credential)
    }

    /// Fetches a token from the server where `trail` begins.
    async fn fetch(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
        trail: &Trail,
        service: Option<&str>,
        credential: Option<Credential>,
    ) -> Result<Header, RequestError> {
        let url = &trail.url;
        let request = token_request(url.clone(), scope, service, credential);
        let asked = Instant::now();
        let mut left = self.options.timeouts.head;
        let response = self.transport.send(request, Patience::Left(&mut left), trail).await?;
        match response.status().as_u16() {
            200 => {}
            status @ (400 | 401 | 403) => {
                let detail = self.transport.detail(response).await;
                return Err(denied(endpoint, scope, status, detail));
            }
            300..=399 => {
                let target = location(&response).map(|url| redact(&url)).unwrap_or_default();
                let reason = "a token server must not redirect";
                return Err(RequestError::Target { url: redact(url), target, reason });
            }
            _ => return Err(self.transport.refusal(response).await),
        }
        let body = self.transport.body(response, MAX_TOKEN).await?;
        let unusable = || RequestError::Token { url: redact(url) };
        // The parser's message may quote the token.
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
        if token.is_empty() {
            return Err(unusable());
        }
        let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(MAX_LIFE);
        // Renew a token early: it must not expire between this check and the registry's.
        let life = Duration::from_secs(life - (life / 4).min(10));
        Ok(Header { value: bearer(&token, endpoint)?, until: Some(asked + life) })
    }
}

/// Returns the error for a request that is not allowed with these credentials, or without any.
pub(crate) fn denied(
    endpoint: &Endpoint,
    scope: &Scope,
    status: u16,
    detail: Detail,
) -> RequestError {
    let registry = endpoint.registry().to_owned();
    RequestError::Denied { registry, scope: scope.to_string(), status, detail }
}

/// Checks the URL that a registry names for fetching tokens, since the credentials go there.
///
/// It must be HTTPS, or plain HTTP if the registry itself is spoken to over plain HTTP. It is in the
/// reach of the registry.
fn check_realm(endpoint: &Endpoint, realm: &str, reach: Reach) -> Result<Trail, RequestError> {
    let from = || format!("the authentication challenge of {}", endpoint.registry());
    let forbidden = |target: String, reason| RequestError::Target { url: from(), target, reason };
    let url = Url::parse(realm)
        .map_err(|_| forbidden(printable(realm, 100), "the realm is not a URL"))?;
    let trail = Trail::led(from(), endpoint.origin(), reach, url)?;
    let origin = &trail.origin;
    // Here the registry is spoken to over plain HTTP, or the realm is HTTPS.
    let same_trust = *origin == *endpoint.origin() || origin.is_loopback();
    if !origin.is_https() && !same_trust {
        let reason = "tokens are fetched over https, or from the registry itself";
        return Err(forbidden(redact(&trail.url), reason));
    }
    Ok(trail)
}

fn token_request(
    mut url: Url,
    scope: &Scope,
    service: Option<&str>,
    credential: Option<Credential>,
) -> Request {
    if let Some(Credential::Identity { token }) = &credential {
        let mut form = Url::parse("form:").expect("a constant URL is valid");
        form.query_pairs_mut()
            .append_pair("grant_type", "refresh_token")
            .append_pair("refresh_token", token.expose())
            .append_pair("client_id", "xbuild")
            .append_pair("scope", &scope.parameters().join(" "))
            .extend_pairs(service.map(|service| ("service", service)));
        let mut request = Request::new(Method::POST, url);
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, kind);
        *request.body_mut() = Some(form.query().unwrap_or_default().to_owned().into());
        return request;
    }
    url.query_pairs_mut()
        .extend_pairs(service.map(|service| ("service", service)))
        .extend_pairs(scope.parameters().iter().map(|scope| ("scope", scope)));
    let mut request = Request::new(Method::GET, url);
    if let Some(Credential::Basic { user, password }) = &credential {
        request.headers_mut().insert(AUTHORIZATION, basic(user, password.expose()));
    }
    request
}

fn basic(user: &str, password: &str) -> HeaderValue {
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).expect("base64 is ASCII");
    value.set_sensitive(true);
    value
}

fn bearer(token: &str, endpoint: &Endpoint) -> Result<HeaderValue, RequestError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| RequestError::Token { url: endpoint.registry().to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}
