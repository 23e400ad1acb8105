//! Tokens: asking the token server that a registry names.
//!
//! **Source** — distribution, token authentication specification and OAuth2 token authentication.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Url};
use serde::Deserialize;
use serde_json::Value;
use xbuild_image::printable::printable;
use xbuild_wording::without_login;

use crate::auth::credential::Credential;
use crate::auth::scope::Scope;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::options::Timeouts;
use crate::transport::exchange::{Patience, Transport};
use crate::transport::origin::redact;
use crate::transport::reach::Reach;
use crate::transport::retry::retry_after;
use crate::transport::trail::{Trail, location};

/// Bytes of a token server's answer that are read.
const MAX_TOKEN: u64 = 64 << 10;
/// Seconds that a token is valid if the server does not say. **Source** — the specification.
const DEFAULT_LIFE: u64 = 60;
/// Seconds that a token is used at most, even if the server says more: a day.
const MAX_LIFE: u64 = 24 * 60 * 60;

/// An `Authorization` header, and how long it may be used.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) value: HeaderValue,
    until: Option<Instant>,
}

impl Header {
    /// Returns the header for a token that is sent as it is.
    pub(crate) fn bearer(token: &str, endpoint: &Endpoint) -> Result<Self, RequestError> {
        Ok(Self { value: bearer(token, endpoint)?, until: None })
    }

    /// Returns the header for user name and password.
    pub(crate) fn basic(user: &str, password: &str) -> Self {
        Self { value: basic(user, password), until: None }
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<Value>,
}

/// A question to a token server.
pub(crate) struct TokenRequest<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) scope: &'a Scope,
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    /// The scopes of the challenge.
    pub(crate) scopes: &'a [String],
    /// What the registry that named the realm may lead to.
    pub(crate) reach: Reach,
    pub(crate) credential: Option<Credential>,
}

impl TokenRequest<'_> {
    /// Fetches a token. Redirects are followed within the origin of the server, since the credentials
    /// go with them.
    pub(crate) async fn fetch(
        &self,
        transport: &Arc<Transport>,
        timeouts: &Timeouts,
    ) -> Result<Header, RequestError> {
        let mut trail = self.check_realm()?;
        let own = trail.origin.clone();
        let asked = Instant::now();
        let mut left = timeouts.head;
        let response = loop {
            let request = self.request(trail.url.clone());
            let response = transport.send(request, Patience::Left(&mut left), &trail).await?;
            match response.status().as_u16() {
                200 => break response,
                301 | 302 | 307 | 308 => {
                    let (url, target) = (redact(&trail.url), location(&response));
                    trail.follow(&response)?;
                    if trail.origin != own {
                        let target = target.map(|url| redact(&url)).unwrap_or_default();
                        let reason = "a token server must not redirect to another one";
                        return Err(RequestError::Target { url, target, reason });
                    }
                }
                status => {
                    let wait = retry_after(response.headers());
                    let detail = transport.detail(response).await;
                    return Err(RequestError::TokenServer {
                        url: redact(&trail.url).into(),
                        registry: self.endpoint.registry().into(),
                        scope: self.scope.to_string().into(),
                        status,
                        detail,
                        seconds: wait.map(|wait| u32::try_from(wait.as_secs()).unwrap_or(u32::MAX)),
                        helper: None,
                    });
                }
            }
        };
        let body = transport.body(response, MAX_TOKEN).await?;
        let unusable = || RequestError::Token { url: redact(&trail.url) };
        // The parser's message may quote the token.
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| unusable())?;
        let mut tokens = [answer.token, answer.access_token].into_iter().flatten();
        let token = tokens.find(|token| !token.is_empty()).ok_or_else(unusable)?;
        let life = life(answer.expires_in.as_ref());
        // Renew a token early: it must not expire between this check and the registry's.
        let life = Duration::from_secs(life - (life / 4).min(10));
        Ok(Header { value: bearer(&token, self.endpoint)?, until: Some(asked + life) })
    }

    /// Checks the URL that a registry names for fetching tokens, since the credentials go there.
    ///
    /// It must be HTTPS, or plain HTTP if the registry itself is spoken to over plain HTTP. It is in
    /// the reach of the registry.
    fn check_realm(&self) -> Result<Trail, RequestError> {
        let from = || format!("the authentication challenge of {}", self.endpoint.registry());
        let forbidden =
            |target: String, reason| RequestError::Target { url: from(), target, reason };
        let url = Url::parse(self.realm).map_err(|_| {
            forbidden(printable(&without_login(self.realm), 100), "the realm is not a URL")
        })?;
        let trail = Trail::led(from(), self.endpoint.origin(), self.reach, url)?;
        let origin = &trail.origin;
        // Here the registry is spoken to over plain HTTP, or the realm is HTTPS.
        let same_trust = *origin == *self.endpoint.origin() || origin.is_loopback();
        if !origin.is_https() && !same_trust {
            let reason = "tokens are fetched over https, or from the registry itself";
            return Err(forbidden(redact(&trail.url), reason));
        }
        Ok(trail)
    }

    fn request(&self, mut url: Url) -> Request {
        let (service, scopes) = (self.service, self.scope.joined(self.scopes));
        if let Some(Credential::Identity { token }) = &self.credential {
            let mut form = Url::parse("form:").expect("a constant URL is valid");
            form.query_pairs_mut()
                .append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", token.expose())
                .append_pair("client_id", "xbuild")
                .append_pair("scope", &scopes.join(" "))
                .extend_pairs(service.map(|service| ("service", service)));
            let mut request = Request::new(Method::POST, url);
            let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, kind);
            *request.body_mut() = Some(form.query().unwrap_or_default().to_owned().into());
            return request;
        }
        // A redirect may keep the question, or leave it out.
        let asked: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let pairs = service.map(|service| ("service", service)).into_iter();
        for (name, value) in pairs.chain(scopes.iter().map(|scope| ("scope", scope.as_str()))) {
            if !asked.iter().any(|(key, old)| key == name && old == value) {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        let mut request = Request::new(Method::GET, url);
        if let Some(Credential::Basic { user, password }) = &self.credential {
            request.headers_mut().insert(AUTHORIZATION, basic(user, password.expose()));
        }
        request
    }
}

/// Returns the seconds that a token is valid. Servers write them as numbers and texts; less than one
/// says nothing.
fn life(expires_in: Option<&Value>) -> u64 {
    let seconds = match expires_in {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    // A float of any size becomes the nearest number.
    let seconds = seconds.filter(|seconds| *seconds >= 1.0).map(|seconds: f64| seconds as u64);
    seconds.unwrap_or(DEFAULT_LIFE).min(MAX_LIFE)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_life_of_a_token_is_sensible_whatever_the_server_says() {
        for (text, expected) in [
            ("null", 60),
            ("0", 60),
            ("-5", 60),
            ("300", 300),
            ("300.5", 300),
            ("\"300\"", 300),
            ("\"soon\"", 60),
            ("[]", 60),
            ("99999999999999999999999999", MAX_LIFE),
            ("1e300", MAX_LIFE),
            ("\"NaN\"", 60),
            ("\"inf\"", MAX_LIFE),
        ] {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(life(Some(&value)), expected, "{text}");
        }
        assert_eq!(life(None), 60);
    }
}
