//! The `Authorization` header of a request: which credential it is made from, and when another one
//! is tried.
//!
//! Headers are kept by origin and scope: a token for one repository is not sent with a request for
//! another, and no token leaves its origin. A credential that the registry refuses is followed by the
//! next one that fits, and for pulls by none: many images are public.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Response;
use reqwest::header::HeaderValue;

use crate::auth::challenge::Challenge;
use crate::auth::credential::Credential;
use crate::auth::credentials::{Candidate, Helper};
use crate::auth::scope::Scope;
use crate::auth::token::{Header, TokenRequest};
use crate::detail::Detail;
use crate::endpoint::Endpoint;
use crate::error::{CredentialsError, RequestError};
use crate::options::ClientOptions;
use crate::transport::exchange::Transport;
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::Reach;
use crate::transport::trail::reach_after;
use crate::warning::RegistryWarning;

/// Refusals in one attempt at a request: more than anybody has credentials for one registry.
const MAX_REFUSALS: u32 = 16;

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
    logins: HashMap<Scope, Login>,
}

/// The login for one scope.
#[derive(Debug, Default)]
struct Login {
    /// The last challenge to a request with this scope.
    challenge: Option<(Challenge, Reach)>,
    /// The candidate in use.
    position: usize,
    header: Option<Header>,
    /// Whether the credential of the candidate was renewed since it was last refused.
    renewed: bool,
    /// A helper that failed and was done without.
    helper: Option<Arc<CredentialsError>>,
}

/// An answer that refuses a request.
pub(crate) struct Refusal {
    status: u16,
    challenge: Option<(Result<Challenge, String>, Reach)>,
    url: String,
    detail: Detail,
}

impl Refusal {
    /// Reads a 401 or 403.
    pub(crate) async fn read(response: Response, transport: &Transport) -> Self {
        let status = response.status().as_u16();
        let challenge =
            (status == 401).then(|| (Challenge::of(response.headers()), reach_after(&response)));
        let url = redact(response.url());
        let detail = transport.detail(response).await;
        Self { status, challenge, url, detail }
    }

    /// Returns whether a new header of the same credential may help: tokens end, and so do the
    /// passwords that helpers give.
    fn is_about_time(&self) -> bool {
        self.status == 401 || self.detail.says("expired")
    }

    /// Returns whether it is a 403 without a reason, as that to a HEAD, which has no body.
    fn is_mute(&self) -> bool {
        self.status == 403 && self.detail.is_empty()
    }
}

/// The refusals in one attempt at a request.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    count: u32,
    renewed: bool,
    /// The first refusal of a credential: it explains more than that of the last.
    first: Option<(u16, Detail)>,
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
        let State { challenge, logins } = &mut *state;
        let Some(challenge) = challenge else { return Ok(None) };
        let login = logins.entry(scope.clone()).or_default();
        login.challenge.get_or_insert_with(|| challenge.clone());
        self.make(login, endpoint, scope).await
    }

    /// Returns the header to send after a refusal of a request with the header `rejected`.
    ///
    /// **Errors** — [`RequestError::Denied`] and [`RequestError::TokenServer`] if no other header can
    /// be made.
    pub(crate) async fn refused(
        &self,
        endpoint: &Endpoint,
        scope: &Scope,
        rejected: Option<&HeaderValue>,
        refusal: Refusal,
        refusals: &mut Refusals,
    ) -> Result<HeaderValue, RequestError> {
        let state = self.state(endpoint);
        let mut state = state.lock().await;
        let State { challenge, logins } = &mut *state;
        let login = logins.entry(scope.clone()).or_default();
        refusals.count += 1;
        if rejected.is_some() {
            refusals.first.get_or_insert_with(|| (refusal.status, refusal.detail.clone()));
        }
        let about_time = refusal.is_about_time()
            || refusal.is_mute() && self.helper_in_use(login, endpoint, scope).is_some();
        match refusal.challenge {
            Some((Ok(new), reach)) => {
                *challenge = Some((new.clone(), reach));
                login.challenge = Some((new, reach));
            }
            Some((Err(challenge), _)) if rejected.is_none() => {
                return Err(RequestError::Challenge { url: refusal.url, challenge });
            }
            _ => {}
        }
        let denied = |login: &Login, refusals: &mut Refusals| {
            let (status, detail) =
                refusals.first.take().unwrap_or((refusal.status, refusal.detail.clone()));
            denied(endpoint, scope, status, detail, login.helper.clone())
        };
        if login.challenge.is_none() || refusals.count > MAX_REFUSALS {
            return Err(denied(login, refusals));
        }
        // Another thread may have made a new header while this one waited for the lock.
        let other = login.header.as_ref().filter(|header| Some(&header.value) != rejected);
        if let Some(header) = other.filter(|header| header.is_fresh()) {
            return Ok(header.value.clone());
        }
        login.header = None;
        if rejected.is_some() {
            if about_time && !refusals.renewed {
                self.forget(login, endpoint, scope);
                refusals.renewed = true;
                let again = self.make(login, endpoint, scope).await?;
                if let Some(again) = again.filter(|again| Some(again) != rejected) {
                    return Ok(again);
                }
            }
            login.header = None;
            login.position += 1;
        }
        refusals.renewed = true;
        match self.make(login, endpoint, scope).await? {
            Some(header) => Ok(header),
            None => Err(denied(login, refusals)),
        }
    }

    fn state(&self, endpoint: &Endpoint) -> Arc<tokio::sync::Mutex<State>> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(origins.entry(endpoint.origin().clone()).or_default())
    }

    fn candidates(&self, endpoint: &Endpoint, scope: &Scope) -> Vec<Candidate> {
        let credentials = &self.options.credentials;
        let mut candidates = credentials.candidates(endpoint.registry(), &scope.repository);
        if !scope.push || candidates.is_empty() {
            candidates.push(Candidate::Anonymous);
        }
        candidates
    }

    /// Lets the helper in use be asked again.
    fn forget(&self, login: &Login, endpoint: &Endpoint, scope: &Scope) {
        if let Some(helper) = self.helper_in_use(login, endpoint, scope) {
            self.options.credentials.forget(&helper);
        }
    }

    /// Returns the helper that gave the credential in use, if one did.
    fn helper_in_use(&self, login: &Login, endpoint: &Endpoint, scope: &Scope) -> Option<Helper> {
        match self.candidates(endpoint, scope).into_iter().nth(login.position) {
            Some(Candidate::Helper { helper, .. }) => Some(helper),
            _ => None,
        }
    }

    /// Returns the header of a login: the one that it has, or one from the first candidate that gives
    /// one. `None` if there is no such candidate; then the login begins anew.
    async fn make(
        &self,
        login: &mut Login,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<HeaderValue>, RequestError> {
        if let Some(header) = login.header.as_ref().filter(|header| header.is_fresh()) {
            return Ok(Some(header.value.clone()));
        }
        let candidates = self.candidates(endpoint, scope);
        let mut refused = None;
        while let Some(candidate) = candidates.get(login.position) {
            match self.header_of(login, candidate, endpoint, scope).await {
                Ok(Some(header)) => {
                    let value = header.value.clone();
                    login.header = Some(header);
                    login.renewed = false;
                    return Ok(Some(value));
                }
                Ok(None) => {}
                Err(error) if error.is_denied_token() => {
                    // The password of a helper may have ended since it was asked.
                    if let Candidate::Helper { helper, .. } = candidate
                        && !login.renewed
                    {
                        login.renewed = true;
                        self.options.credentials.forget(helper);
                        continue;
                    }
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
            login.renewed = false;
            login.position += 1;
        }
        login.position = 0;
        match refused {
            Some(error) => Err(error.with_helper(login.helper.clone())),
            None => Ok(None),
        }
    }

    /// Makes a header from one candidate; `None` if it cannot answer the challenge.
    async fn header_of(
        &self,
        login: &mut Login,
        candidate: &Candidate,
        endpoint: &Endpoint,
        scope: &Scope,
    ) -> Result<Option<Header>, RequestError> {
        let Some((challenge, reach)) = login.challenge.clone() else { return Ok(None) };
        let credential = match candidate {
            Candidate::Known(credential) => Some(credential.clone()),
            Candidate::Anonymous => None,
            Candidate::Helper { .. } => match self.ask(login, candidate, endpoint)? {
                Some(credential) => Some(credential),
                None => return Ok(None),
            },
        };
        if credential.is_some() && self.is_readable(endpoint) {
            let registry = endpoint.registry().to_owned();
            return Err(RequestError::PlainCredentials { registry });
        }
        match (challenge, credential) {
            (_, Some(Credential::Bearer { token })) => {
                Header::bearer(token.expose(), endpoint).map(Some)
            }
            (Challenge::Basic, Some(Credential::Basic { user, password })) => {
                Ok(Some(Header::basic(&user, password.expose())))
            }
            (Challenge::Basic, _) => Ok(None),
            (Challenge::Bearer { realm, service, scopes }, credential) => {
                let (realm, service) = (realm.as_str(), service.as_deref());
                let request = TokenRequest {
                    endpoint,
                    scope,
                    realm,
                    service,
                    scopes: &scopes,
                    reach,
                    credential,
                };
                request.fetch(&self.transport, &self.options.timeouts).await.map(Some)
            }
        }
    }

    /// Asks a helper. It may take minutes, which holds up nobody else: each request is polled by the
    /// thread that makes it, see [`Connections`](crate::connections::Connections).
    fn ask(
        &self,
        login: &mut Login,
        candidate: &Candidate,
        endpoint: &Endpoint,
    ) -> Result<Option<Credential>, RequestError> {
        let Candidate::Helper { helper, serves_all } = candidate else { return Ok(None) };
        let registry = endpoint.registry().to_owned();
        let (answer, is_new) =
            self.options.credentials.ask(helper, &self.options.cancel, &|wait| {
                self.options.warn(&RegistryWarning::HelperWaits {
                    program: wait.program.to_owned(),
                    registry: registry.clone(),
                    seconds: wait.patience.as_secs(),
                });
            });
        match answer {
            Ok(credential) => Ok(credential),
            Err(source) if *serves_all => {
                if is_new {
                    let fault = Arc::clone(&source);
                    self.options.warn(&RegistryWarning::HelperSkipped { registry, fault });
                }
                login.helper = Some(source);
                Ok(None)
            }
            Err(source) => Err(RequestError::Credentials { registry, source }),
        }
    }

    /// Returns whether anybody on the way could read credentials that are sent.
    fn is_readable(&self, endpoint: &Endpoint) -> bool {
        let origin = endpoint.origin();
        let host = self.options.host(endpoint.registry());
        let is_allowed =
            self.options.insecure_credentials || host.is_some_and(|host| host.insecure_credentials);
        !origin.is_https() && !origin.is_loopback() && !is_allowed
    }
}

/// Returns the error for a request that is not allowed with these credentials, or without any.
fn denied(
    endpoint: &Endpoint,
    scope: &Scope,
    status: u16,
    detail: Detail,
    helper: Option<Arc<CredentialsError>>,
) -> RequestError {
    let registry = endpoint.registry().to_owned();
    RequestError::Denied { registry, scope: scope.to_string(), status, detail, helper }
}
