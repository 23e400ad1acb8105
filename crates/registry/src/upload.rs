//! Putting one blob into a repository: look, mount, upload, resume.
//!
//! **Source** — OCI distribution-spec § Pushing blobs, § Mounting a blob from another repository,
//! § Resuming (the `GET` on an upload).

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::Scope as ThreadScope;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Response, Url};
use tokio::sync::mpsc;
use tracing::Span;
use xbuild_model::{Descriptor, Digest, thread};

use crate::auth::scope::Scope;
use crate::connections::Connections;
use crate::endpoint::Endpoint;
use crate::error::RequestError;
use crate::request::{Call, Payload, Upload};
use crate::transport::exchange::Progress;
use crate::transport::origin::redact;
use crate::transport::reach::Reach;
use crate::transport::retry::Attempts;
use crate::transport::trail::{Trail, location, reach_after};

/// Bytes that are read at a time: with [`CHUNKS_AHEAD`] enough to keep a fast connection busy, and
/// less than a MiB of memory for each upload.
const CHUNK: usize = 256 << 10;
/// Chunks that wait to be sent.
const CHUNKS_AHEAD: usize = 2;

/// A repository that blobs are put into.
pub(crate) struct Uploads<'a> {
    pub(crate) connections: &'a Connections,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) repository: &'a str,
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
}

/// Why a blob could not be uploaded.
pub(crate) enum UploadError {
    Request(RequestError),
    /// The bytes to send could not be read.
    Source(io::Error),
}

/// Opens the bytes of a blob from an offset to the end.
pub(crate) type OpenAt<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

impl Uploads<'_> {
    /// Returns whether the repository has the blob. An answer that does not tell counts as no.
    pub(crate) fn has(&self, blob: &Descriptor) -> Result<bool, RequestError> {
        let scope = Scope::push(self.repository);
        let url = self.endpoint.blob(self.repository, &blob.digest);
        match self.connections.call(&Call::new(self.endpoint, &scope, Method::HEAD, url)) {
            Ok(response) => {
                let length = response.headers().get(CONTENT_LENGTH);
                let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
                Ok(length.is_none_or(|length| length == blob.size))
            }
            Err(RequestError::Status { status: 400..=499, retry_after: None, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Asks the registry to take the blob over from its repository `from`.
    pub(crate) fn mount(&self, digest: &Digest, from: &str) -> Result<Mount, RequestError> {
        let scope = Scope::mount(self.repository, from);
        let mut url = self.endpoint.uploads(self.repository);
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        match self.connections.call(&Call::new(self.endpoint, &scope, Method::POST, url)) {
            Ok(response) if response.status().as_u16() == 201 => Ok(Mount::Done),
            Ok(response) => Ok(Mount::Session(self.session(&response)?)),
            // The user may not be allowed to read `from`, or the registry cannot mount.
            Err(RequestError::Denied { .. } | RequestError::Status { status: 400..=499, .. }) => {
                Ok(Mount::Refused)
            }
            Err(error) => Err(error),
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
        let mut attempts = Attempts::default();
        loop {
            let begun = match session.take() {
                Some(session) => session,
                None => self.begin().map_err(UploadError::Request)?,
            };
            let error = match self.send(blob, begun.clone(), offset, open, sent) {
                Ok(()) => return Ok(()),
                Err(UploadError::Source(error)) => return Err(UploadError::Source(error)),
                Err(UploadError::Request(error)) => error,
            };
            // The registry has forgotten the upload, or counts its bytes differently: begin anew.
            let lost = matches!(error.status(), Some(404 | 416));
            let helps = lost || error.is_retryable();
            if !attempts.after(&self.connections.options.retries, &error, helps) {
                return Err(UploadError::Request(error));
            }
            self.connections.wait(self.endpoint, attempts.failures(), &error);
            let resumed = if lost { None } else { self.resume(&begun) };
            (offset, session) = match resumed {
                Some((offset, next)) if offset < blob.size => (offset, Some(next)),
                _ => (0, None),
            };
        }
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

    /// Asks the registry to forget an upload. The answer does not matter: registries remove
    /// abandoned uploads by themselves.
    fn cancel(&self, session: Session) {
        let scope = Scope::push(self.repository);
        let _ = self.connections.call(&self.part(&scope, Method::DELETE, session));
    }

    /// Returns a request to an upload.
    fn part<'c>(&'c self, scope: &'c Scope, method: Method, session: Session) -> Call<'c> {
        let Session { url, reach } = session;
        Call { led: Some(reach), ..Call::new(self.endpoint, scope, method, url) }
    }

    /// Begins an upload.
    fn begin(&self) -> Result<Session, RequestError> {
        let scope = Scope::push(self.repository);
        let url = self.endpoint.uploads(self.repository);
        let response =
            self.connections.call(&Call::new(self.endpoint, &scope, Method::POST, url))?;
        self.session(&response)
    }

    /// Returns the upload that an answer names. A URL on another host gets the blob, but never the
    /// credentials.
    fn session(&self, response: &Response) -> Result<Session, RequestError> {
        let (own, from) = (self.endpoint.origin(), redact(response.url()));
        let reach = reach_after(response);
        let trail = Trail::led(from.clone(), own, reach, location(response)?)?;
        if trail.origin != *own && !trail.origin.is_https() {
            let reason = "blobs are sent to other hosts over https only";
            return Err(RequestError::Target { url: from, target: redact(&trail.url), reason });
        }
        Ok(Session { url: trail.url, reach })
    }

    /// Returns how many bytes of a broken upload have arrived, and where to send the rest.
    fn resume(&self, session: &Session) -> Option<(u64, Session)> {
        let scope = Scope::push(self.repository);
        let call = self.part(&scope, Method::GET, session.clone());
        // A registry that cannot tell gets the blob again from the start.
        let response = self.connections.call(&call).ok()?;
        let range = response.headers().get(RANGE)?.to_str().ok()?;
        let last: u64 = range.trim_start_matches("bytes=").strip_prefix("0-")?.parse().ok()?;
        // "0-0" means one byte; some registries send it for no byte.
        if last == 0 { None } else { Some((last + 1, self.session(&response).ok()?)) }
    }

    /// Sends the bytes from `offset` on and completes the upload.
    ///
    /// A whole blob goes in one PUT, which every registry takes. The rest of a broken upload goes
    /// in a PATCH, because only a PATCH may name the byte at which it begins.
    fn send(
        &self,
        blob: &Descriptor,
        mut session: Session,
        offset: u64,
        open: &OpenAt<'_>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), UploadError> {
        if offset > 0 {
            let range = format!("{offset}-{}", blob.size - 1);
            let range = HeaderValue::try_from(range).expect("numbers are ASCII");
            let rest = (offset, Some(blob.size - offset));
            let response = self.stream(Method::PATCH, session, Some(range), rest, open, sent)?;
            session = self.session(&response).map_err(UploadError::Request)?;
        }
        session.url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let rest = if offset > 0 { (blob.size, Some(0)) } else { (0, Some(blob.size)) };
        self.stream(Method::PUT, session, None, rest, open, sent).map(drop)
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
            let make = || feed(threads, open, (offset, length), sent, &source_error);
            let mut call = self.part(&scope, method, session);
            call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            call.headers.extend(range.map(|range| (CONTENT_RANGE, range)));
            if length != Some(0) {
                call.payload = Payload::Stream(&make);
            }
            self.connections.call(&call)
        });
        match source_error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(UploadError::Source(error)),
            None => result.map_err(UploadError::Request),
        }
    }
}

/// Starts a thread that reads the bytes, and returns the body that it fills. Without a length the
/// body ends where the bytes end.
fn feed<'scope, 'env>(
    threads: &'scope ThreadScope<'scope, 'env>,
    open: &'scope OpenAt<'scope>,
    (offset, length): (u64, Option<u64>),
    sent: &'scope (dyn Fn(u64) + Sync),
    source_error: &'scope Mutex<Option<io::Error>>,
) -> Upload {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let progress = Arc::new(Progress::default());
    let span = Span::current();
    // Either makes the request fail; the error that is kept is the one to report.
    let keep = move |error: io::Error| {
        *source_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::from(io::ErrorKind::Other)
    };
    let broken = sender.clone();
    let started = thread::start_in(threads, "upload", move || {
        // Bytes that are elsewhere are requested on this thread.
        let _span = span.entered();
        if let Err(error) = pump(open, offset, length, sent, &sender) {
            let _ = sender.blocking_send(Err(keep(error)));
        }
    });
    if let Err(error) = started {
        let _ = broken.try_send(Err(keep(error.into())));
    }
    let body = FedBody { receiver, remaining: length, progress: Arc::clone(&progress) };
    Upload { body: reqwest::Body::wrap(body), progress }
}

/// Reads `length` bytes, or all, into the channel; returns early once the receiver is gone.
fn pump(
    open: &OpenAt<'_>,
    offset: u64,
    length: Option<u64>,
    sent: &(dyn Fn(u64) + Sync),
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = open(offset)?;
    let mut remaining = length.unwrap_or(u64::MAX);
    while remaining > 0 {
        let size = remaining.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(CHUNK);
        reader.by_ref().take(size).read_to_end(&mut chunk)?;
        let got = chunk.len() as u64;
        if got < size && length.is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if got == 0 {
            return Ok(());
        }
        if sender.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
        remaining -= got;
        sent(got);
    }
    Ok(())
}

/// A body that another thread fills.
struct FedBody {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes still to come, if their number is known.
    remaining: Option<u64>,
    progress: Arc<Progress>,
}

impl http_body::Body for FedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|chunk| {
            let Some(chunk) = chunk else {
                self.progress.complete.store(true, Ordering::Relaxed);
                return None;
            };
            Some(chunk.map(|chunk| {
                let length = chunk.len() as u64;
                self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(length));
                self.progress.sent.fetch_add(length, Ordering::Relaxed);
                self.progress.complete.store(self.is_end_stream(), Ordering::Relaxed);
                Frame::data(chunk)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
