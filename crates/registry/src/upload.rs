//! Putting one blob into a repository: look, mount, upload, resume.
//!
//! A blob goes in one PUT, in a PATCH where a registry takes no PUT with a body, or in chunks where a
//! registry, or a proxy in front of it, does not take it whole. All requests for a blob share one number
//! of attempts.
//!
//! **Source** — OCI distribution-spec § Pushing blobs, § Mounting a blob from another repository,
//! § Resuming (the `GET` on an upload).

mod body;
mod chunks;

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, PoisonError};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, Response, Url};
use xbuild_model::{Descriptor, Digest};

use crate::auth::scope::Scope;
use crate::connections::Connections;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::request::{Call, Payload};
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::Reach;
use crate::transport::retry::Attempts;
use crate::transport::trail::{Trail, location, reach_after};

pub(crate) use body::OpenAt;

/// Bytes without a failure after which earlier failures no longer count.
const FORGIVEN_AFTER: u64 = 16 << 20;

/// Codes of errors after which an upload begins anew: it is forgotten, or its bytes are not those
/// that were sent.
const LOST: &[&str] =
    &["BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID", "DIGEST_INVALID", "SIZE_INVALID"];

/// Statuses of registries that may take a blob in a PATCH and not in the PUT.
const NO_PUT: &[u16] = &[400, 404, 405, 501];

/// A repository that a blob is put into. The attempts of all requests count together.
pub(crate) struct Uploads<'a> {
    connections: &'a Connections,
    endpoint: &'a Endpoint,
    repository: &'a str,
    attempts: Cell<Attempts>,
    /// Whether the bytes of a whole blob go in a PATCH.
    patches: Cell<bool>,
    /// Whether the registry is believed that says that it has the blob.
    believes: bool,
}

/// The result of an attempt to mount a blob.
pub(crate) enum Mount {
    Done,
    /// The registry did not mount it and began an upload instead.
    Session(Session),
    Refused,
}

/// An upload that the registry has begun.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    url: Url,
    /// The reach of `url`: that of the server that named it.
    reach: Reach,
    /// Bytes that a request may have at most, if the registry says so.
    limit: Option<u64>,
}

/// The place of an upload that goes on.
struct Position {
    session: Session,
    /// Bytes that the registry has.
    offset: u64,
    /// Whether the last request was a PUT with the whole blob.
    is_whole: bool,
}

/// Why a blob could not be uploaded.
pub(crate) enum UploadError {
    Request(RequestError),
    /// The bytes to send could not be read.
    Source(io::Error),
}

impl<'a> Uploads<'a> {
    pub(crate) fn new(
        connections: &'a Connections,
        endpoint: &'a Endpoint,
        repository: &'a str,
    ) -> Self {
        let patches = Cell::new(connections.patches(endpoint));
        let attempts = Cell::default();
        Self { connections, endpoint, repository, attempts, patches, believes: true }
    }

    /// Sends the blob even if the registry says that it has it.
    pub(crate) fn in_disbelief(self) -> Self {
        Self { believes: false, ..self }
    }

    /// Returns whether the repository has the blob. An answer that does not tell counts as no: HEAD
    /// saves work and no more.
    pub(crate) fn has(&self, blob: &Descriptor) -> Result<bool, RequestError> {
        /// Statuses that another attempt would not change, or that an upload may not meet.
        const NO: &[u16] = &[400, 404, 405, 406, 410, 415, 416, 500, 501, 502, 503, 504, 505, 507];
        if !self.believes {
            return Ok(false);
        }
        let scope = Scope::push(self.repository);
        let url = self.endpoint.blob(self.repository, &blob.digest);
        let call = Call { accept: NO, ..Call::new(self.endpoint, &scope, Method::HEAD, url) };
        match self.call(&call) {
            Ok(response) if response.status().is_success() => {
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                Ok(length.is_none_or(|length| length == blob.size))
            }
            Ok(_) => Ok(false),
            Err(error) if self.is_about_us(&error) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Returns whether an error would come again with an upload: no connection, no login.
    fn is_about_us(&self, error: &RequestError) -> bool {
        match error {
            RequestError::Denied { registry, .. } => registry == self.endpoint.registry(),
            RequestError::TokenServer { registry, .. } => {
                registry.as_ref() == self.endpoint.registry()
            }
            RequestError::Status { status, .. } => *status == 429,
            RequestError::Header { .. }
            | RequestError::Target { .. }
            | RequestError::Reach { .. }
            | RequestError::Challenge { .. } => false,
            _ => true,
        }
    }

    /// Asks the registry to take the blob over from its repository `from`. There is one attempt: the
    /// blob can be sent instead.
    pub(crate) fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, RequestError> {
        let scope = Scope::mount(self.repository, from);
        let mut url = self.endpoint.uploads(self.repository);
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        match self.connections.once(&Call::new(self.endpoint, &scope, Method::POST, url)) {
            Ok(response) => Ok(match (response.status().as_u16(), self.session(&response)) {
                (201, _) => Mount::Done,
                (202, Ok(session)) => Mount::Session(session),
                _ => Mount::Refused,
            }),
            Err(RequestError::Cancelled) => Err(RequestError::Cancelled),
            // The user may not be allowed to read `from`, or the registry cannot mount.
            Err(_) => Ok(Mount::Refused),
        }
    }

    /// Uploads the blob, into `session` if an upload was begun already. `sent` is called with the
    /// number of bytes handed to the connection; bytes that are sent again are counted again.
    pub(crate) fn upload(
        &self,
        blob: &Descriptor,
        mut session: Option<Session>,
        open: &OpenAt<'_>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), UploadError> {
        let mut offset = 0;
        loop {
            let begun = match session.take() {
                Some(session) => session,
                None => self.begin().map_err(UploadError::Request)?,
            };
            let mut at = Position { session: begun, offset, is_whole: false };
            let error = match self.send(blob, &mut at, open, sent) {
                Ok(()) => {
                    if self.patches.get() {
                        self.connections.note_patches(self.endpoint);
                    }
                    return Ok(());
                }
                Err(UploadError::Source(error)) => return Err(UploadError::Source(error)),
                Err(UploadError::Request(error)) => error,
            };
            if error.status() == Some(413) && self.connections.send_less(self.endpoint, blob.size) {
                (offset, session) = (0, None);
                continue;
            }
            let is_about_bytes = LOST.iter().any(|code| error.has_code(code));
            let is_refused = error.status().is_some_and(|status| NO_PUT.contains(&status));
            if is_refused && !is_about_bytes && at.is_whole && !self.patches.get() {
                // The blob may be there all the same.
                if self.has(blob).map_err(UploadError::Request)? {
                    return Ok(());
                }
                self.patches.set(true);
                (offset, session) = (0, None);
                continue;
            }
            // The registry has forgotten the upload, or counts its bytes differently: begin anew.
            let lost = is_about_bytes || matches!(error.status(), Some(404 | 416));
            self.again(error, lost).map_err(UploadError::Request)?;
            // The answer to the last request may have been lost, and nothing else.
            if self.has(blob).map_err(UploadError::Request)? {
                return Ok(());
            }
            let resumed = if lost { None } else { self.resume(&at.session) };
            let before = offset;
            (offset, session) = match resumed {
                Some((offset, next)) if offset < blob.size => (offset, Some(next)),
                _ => (0, None),
            };
            if offset >= before + FORGIVEN_AFTER {
                self.attempts.take();
            }
        }
    }

    /// Waits before another attempt.
    ///
    /// **Errors** — `error`, if another one would not help.
    fn again(&self, error: RequestError, lost: bool) -> Result<(), RequestError> {
        let mut attempts = self.attempts.get();
        let helps = lost || error.is_retryable();
        let again = attempts.after(&self.connections.options.retries, &error, helps);
        self.attempts.set(attempts);
        if !again {
            return Err(error);
        }
        self.connections.wait(self.endpoint, attempts.failures(), &error);
        Ok(())
    }

    /// Uploads a blob whose size and digest are known only after its last byte: then `digest` is
    /// called. There is only one attempt.
    ///
    /// The body of the PATCH has no length, as container engines have always sent it.
    pub(crate) fn upload_unknown(
        &self,
        open: &OpenAt<'_>,
        digest: &dyn Fn() -> Option<Digest>,
    ) -> Result<(), UploadError> {
        let begun = self.begin().map_err(UploadError::Request)?;
        let sent = self.stream(Method::PATCH, begun.clone(), None, (0, None), open, &|_| {});
        let finished = sent.and_then(|response| {
            let digest =
                digest().ok_or_else(|| UploadError::Source(io::ErrorKind::UnexpectedEof.into()))?;
            let mut end = self.session(&response).map_err(UploadError::Request)?;
            end.url.query_pairs_mut().append_pair("digest", &digest.to_string());
            self.stream(Method::PUT, end, None, (0, Some(0)), open, &|_| {}).map(drop)
        });
        finished.inspect_err(|_| self.cancel(begun))
    }

    /// Begins an upload and gives it up again, to see whether the registry lets this user push. There
    /// is one attempt.
    pub(crate) fn try_begin(&self) -> Result<(), RequestError> {
        let scope = Scope::push(self.repository);
        let url = self.endpoint.uploads(self.repository);
        let call = Call::new(self.endpoint, &scope, Method::POST, url);
        let answer = self.connections.once(&call)?;
        if let Ok(session) = self.session(&answer) {
            self.cancel(session);
        }
        Ok(())
    }

    /// Asks the registry to forget an upload. The answer does not matter: registries remove
    /// abandoned uploads by themselves.
    fn cancel(&self, session: Session) {
        let scope = Scope::push(self.repository);
        let _ = self.connections.once(&self.part(&scope, Method::DELETE, session));
    }

    fn call(&self, call: &Call<'_>) -> Result<Response, RequestError> {
        let mut attempts = self.attempts.get();
        let answer = self.connections.call_counted(call, &mut attempts);
        self.attempts.set(attempts);
        answer
    }

    /// Returns a request to an upload.
    fn part<'c>(&'c self, scope: &'c Scope, method: Method, session: Session) -> Call<'c> {
        let Session { url, reach, .. } = session;
        Call { led: Some(reach), ..Call::new(self.endpoint, scope, method, url) }
    }

    /// Begins an upload.
    fn begin(&self) -> Result<Session, RequestError> {
        let scope = Scope::push(self.repository);
        let url = self.endpoint.uploads(self.repository);
        let response = self.call(&Call::new(self.endpoint, &scope, Method::POST, url))?;
        self.session(&response)
    }

    /// Returns the upload that an answer names. A URL on another host gets the blob, but never the
    /// credentials.
    fn session(&self, response: &Response) -> Result<Session, RequestError> {
        let endpoint = self.connections.requests.actual(self.endpoint);
        let (own, from) = (endpoint.origin(), redact(response.url()));
        let reach = reach_after(response);
        // A relative URL, and one without TLS, are those of the server that answered.
        let by = Origin::of(response.url()).unwrap_or_else(|| own.clone());
        let trail = Trail::led(from.clone(), own, reach, by.meant(location(response)?))?;
        if !own.may_send_to(&trail.origin) {
            let reason = "blobs are sent to other hosts over https only";
            return Err(RequestError::Target { url: from, target: redact(&trail.url), reason });
        }
        let limit = chunk_limit(response.headers());
        Ok(Session { url: trail.url, reach, limit })
    }

    /// Returns how many bytes of a broken upload have arrived, and where to send the rest.
    fn resume(&self, session: &Session) -> Option<(u64, Session)> {
        let scope = Scope::push(self.repository);
        let call = self.part(&scope, Method::GET, session.clone());
        // A registry that cannot tell gets the blob again from the start.
        let response = self.connections.once(&call).ok()?;
        let arrived = arrived(response.headers())?;
        let next = self.session(&response).ok()?;
        Some((arrived, Session { limit: next.limit.or(session.limit), ..next }))
    }

    /// Sends one request whose body is the blob from `offset` on: `length` bytes, or all.
    fn stream(
        &self,
        method: Method,
        session: Session,
        range: Option<HeaderValue>,
        (offset, length): (u64, Option<u64>),
        open: &OpenAt<'_>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Response, UploadError> {
        let scope = Scope::push(self.repository);
        let source_error = Mutex::new(None);
        let result = std::thread::scope(|threads| {
            let make = || body::feed(threads, open, (offset, length), sent, &source_error);
            let mut call = self.part(&scope, method, session);
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            call.headers.extend(range.map(|range| (CONTENT_RANGE, range)));
            if length != Some(0) {
                call.payload = Payload::Stream(&make);
            }
            self.connections.once(&call)
        });
        match source_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(UploadError::Source(error)),
            None => result.map_err(UploadError::Request),
        }
    }
}

/// Returns how many bytes of an upload have arrived; `None` if the registry does not tell.
fn arrived(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(RANGE)?.to_str().ok()?;
    let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
    // "0-0" means one byte; some registries send it for no byte.
    if last == 0 { None } else { last.checked_add(1) }
}

/// Returns the bytes that a request of an upload may have.
fn chunk_limit(headers: &HeaderMap) -> Option<u64> {
    let limit = headers.get("oci-chunk-max-length")?.to_str().ok()?.trim().parse().ok()?;
    Some(limit).filter(|limit| *limit > 0)
}
