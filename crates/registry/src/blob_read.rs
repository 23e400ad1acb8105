//! Reading a blob of a registry as a stream that resumes by itself.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response};
use tracing::{Span, debug_span};
use xbuild_model::{Descriptor, Digest};

use crate::auth::scope::Scope;
use crate::connections::Connections;
use crate::endpoint::Place;
use crate::error::{PullError, RequestError};
use crate::mirrors::Mirrors;
use crate::options::Retries;
use crate::request::Call;
use crate::transport::incoming::Incoming;
use crate::transport::retry::Attempts;

/// Bytes without a failure after which earlier failures no longer count.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// How the rest of a blob is asked for: the next way if the server refuses one or serves it wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// `bytes=N-`.
    Open,
    /// `bytes=N-M`: some servers know no other ranges.
    Closed,
    /// The whole blob; what was read before is skipped.
    Whole,
}

impl Asks {
    fn next(self) -> Self {
        match self {
            Self::Open => Self::Closed,
            Self::Closed | Self::Whole => Self::Whole,
        }
    }
}

/// Statuses that refuse a range, besides those that refuse everything.
const NO_RANGE: &[u16] = &[400, 405, 406, 409, 412, 416, 422, 500, 501, 505];

/// The bytes of a blob from an offset to its end.
///
/// When the connection breaks, the rest is requested again. The reader checks the size but not the
/// digest, which its caller knows after the last byte.
pub(crate) struct BlobReader {
    connections: Arc<Connections>,
    /// The place that is asked, and those to ask after it.
    place: Place,
    others: VecDeque<Place>,
    descriptor: Descriptor,
    /// The offset of the next byte that `read` returns.
    position: u64,
    /// Bytes that came and were not read yet.
    chunk: Bytes,
    response: Option<Incoming>,
    /// The number of bytes to skip at the beginning of the response: they were read before.
    discard: u64,
    asks: Asks,
    /// The offset at which the answer ends, if it is a part that ends early and says so.
    part_end: Option<u64>,
    /// Answers that ended early, or had another size than announced, without saying so.
    odd_ends: u32,
    attempts: Attempts,
    retries: Retries,
    since_failure: u64,
    finished: bool,
    /// It lasts from the first request until the reader is dropped.
    span: Span,
}

impl BlobReader {
    /// Requests the blob; returns once the answer has begun.
    pub(crate) fn open(
        connections: Arc<Connections>,
        places: Vec<Place>,
        (descriptor, offset): (&Descriptor, u64),
        retries: Retries,
    ) -> Result<Self, PullError> {
        let mut others = VecDeque::from(places);
        connections.mirrors.begin(&descriptor.digest);
        let place = next_place(&mut others, &connections.mirrors, &descriptor.digest);
        let place = place.expect("the registry itself is a place");
        let mut reader = Self {
            connections,
            place,
            others,
            descriptor: descriptor.clone(),
            position: offset,
            chunk: Bytes::new(),
            response: None,
            discard: 0,
            asks: Asks::Open,
            part_end: None,
            odd_ends: 0,
            attempts: Attempts::default(),
            retries,
            since_failure: 0,
            finished: false,
            span: debug_span!("blob", digest = %descriptor.digest, size = descriptor.size),
        };
        let connect = |reader: &mut Self| reader.connect();
        reader.span.clone().in_scope(|| reader.anywhere(connect))?;
        Ok(reader)
    }

    /// Does work, and again at the next place if it fails at a mirror.
    fn anywhere(
        &mut self,
        work: impl Fn(&mut Self) -> Result<(), PullError>,
    ) -> Result<(), PullError> {
        loop {
            let error = match work(self) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match &error {
                PullError::Request { source: RequestError::Cancelled, .. } => return Err(error),
                _ if !self.place.is_mirror => {}
                PullError::Request { source, .. } => {
                    self.connections.tell_mirror(&self.place.endpoint, source);
                }
                other => {
                    let mirror = self.place.endpoint.registry();
                    self.connections.tell_mirror_answer(mirror, other.to_string());
                }
            }
            let mirrors = &self.connections.mirrors;
            let next = next_place(&mut self.others, mirrors, &self.descriptor.digest);
            let Some(next) = next else { return Err(error) };
            self.place = next;
            self.response = None;
            (self.asks, self.odd_ends, self.attempts) = (Asks::Open, 0, Attempts::default());
        }
    }

    fn connect(&mut self) -> Result<(), PullError> {
        loop {
            let response = self.request()?;
            let status = response.status().as_u16();
            let (begin, end) = match status {
                206 => content_range(&response).unwrap_or((u64::MAX, 0)),
                200..=299 => (0, self.descriptor.size),
                _ => (u64::MAX, 0),
            };
            if begin > self.position || end <= self.position && end < self.descriptor.size {
                // It is another range, or none: ask in another way.
                if self.asks == Asks::Whole {
                    let url = crate::transport::origin::redact(response.url());
                    let header = "Content-Range";
                    return Err(self.failed(RequestError::Header { url, header }));
                }
                self.asks = if status == 206 { Asks::Whole } else { self.asks.next() };
                continue;
            }
            self.discard = self.position - begin;
            self.part_end = Some(end).filter(|end| *end < self.descriptor.size);
            let length = end.min(self.descriptor.size) - begin;
            if response.content_length().is_some_and(|sent| sent != length) {
                self.odd_end()?;
                continue;
            }
            self.connections.mirrors.read(&self.descriptor.digest, &self.place);
            self.response = Some(response.into());
            return Ok(());
        }
    }

    /// Requests the rest. An answer that refuses a range is returned as it is.
    fn request(&mut self) -> Result<Response, PullError> {
        let Place { endpoint, repository, is_mirror, .. } = self.place.clone();
        let scope = Scope::pull(&repository);
        let url = endpoint.blob(&repository, &self.descriptor.digest);
        let mut call = Call::new(&endpoint, &scope, Method::GET, url);
        (call.once, call.retries) = (is_mirror, Some(self.retries));
        let range = match self.asks {
            _ if self.position == 0 => None,
            Asks::Open => Some(format!("bytes={}-", self.position)),
            Asks::Closed => Some(format!("bytes={}-{}", self.position, self.descriptor.size - 1)),
            Asks::Whole => None,
        };
        if let Some(range) = range {
            call.accept = NO_RANGE;
            call.headers.insert(RANGE, HeaderValue::try_from(range).expect("numbers are ASCII"));
        }
        let is_range = call.headers.contains_key(RANGE);
        let answer = self.connections.call_counted(&call, &mut self.attempts);
        match answer {
            // A proxy or a store behind the registry may refuse ranges with the status of another
            // failure: the whole is the last thing to try.
            Err(error) if is_range && may_be_about_the_range(&error) => {
                self.asks = Asks::Whole;
                self.request()
            }
            other => other.map_err(|source| self.failed(source)),
        }
    }

    /// Counts an answer that has not the size that it should have. One is forgiven: a proxy may have
    /// lost the rest.
    fn odd_end(&mut self) -> Result<(), PullError> {
        self.response = None;
        self.odd_ends += 1;
        if self.odd_ends > 1 { Err(self.wrong_size()) } else { Ok(()) }
    }

    /// Gets the next bytes into `chunk`, or finds the end.
    fn advance(&mut self) -> Result<(), PullError> {
        loop {
            if self.response.is_none() {
                self.connect()?;
            }
            let response = self.response.as_mut().expect("connect sets it");
            match self.connections.chunk(response) {
                Ok(Some(mut chunk)) => {
                    let known = self.discard.min(chunk.len() as u64);
                    self.discard -= known;
                    // `known` is at most the length of a slice.
                    chunk.advance(known as usize);
                    if chunk.len() as u64 > self.descriptor.size - self.position {
                        self.odd_end()?;
                        continue;
                    }
                    self.since_failure += chunk.len() as u64;
                    if !chunk.is_empty() {
                        self.chunk = chunk;
                        return Ok(());
                    }
                }
                Ok(None) if self.position == self.descriptor.size && self.discard == 0 => {
                    self.finished = true;
                    return Ok(());
                }
                // The server sends a blob in parts.
                Ok(None) if self.part_end == Some(self.position) => self.response = None,
                Ok(None) => self.odd_end()?,
                Err(source) => {
                    self.recover(source)?;
                    if self.finished {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits before the rest is requested again, if another attempt may help.
    fn recover(&mut self, source: RequestError) -> Result<(), PullError> {
        self.response = None;
        if self.position == self.descriptor.size {
            // All bytes are here: what failed was the end of the answer.
            self.finished = true;
            return Ok(());
        }
        if self.since_failure >= FORGIVEN_AFTER {
            self.attempts = Attempts::default();
        }
        self.since_failure = 0;
        if !self.attempts.again(&self.retries, &source) {
            return Err(self.failed(source));
        }
        self.connections.wait(&self.place.endpoint, self.attempts.failures(), &source);
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.place.endpoint.registry(), self.place.repository)
    }

    fn failed(&self, source: RequestError) -> PullError {
        let name = format!("blob {} of {}", self.descriptor.digest, self.name());
        PullError::Request { name, source }
    }

    fn wrong_size(&self) -> PullError {
        let Descriptor { digest, size, .. } = &self.descriptor;
        PullError::BlobSize { name: self.name(), digest: digest.clone(), size: *size }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.chunk.is_empty() && !self.finished {
            let advance = |reader: &mut Self| reader.advance();
            self.span.clone().in_scope(|| self.anywhere(advance)).map_err(io::Error::other)?;
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

/// Takes the next place that is worth asking for a blob.
fn next_place(places: &mut VecDeque<Place>, mirrors: &Mirrors, blob: &Digest) -> Option<Place> {
    places.retain(|place| !mirrors.avoid(place, Some(blob)));
    places.pop_front()
}

/// Returns whether a final refusal of a request with a range leaves hope for one without. A blob that
/// is gone, and a limit of requests, have nothing to do with ranges.
fn may_be_about_the_range(error: &RequestError) -> bool {
    error.status().is_some_and(|status| !matches!(status, 401 | 404 | 410 | 429))
}

/// Returns where a partial answer begins, and the offset after its end.
pub(crate) fn content_range(response: &Response) -> Option<(u64, u64)> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    let (begin, last) = text.strip_prefix("bytes ")?.split('/').next()?.split_once('-')?;
    let (begin, last): (u64, u64) = (begin.trim().parse().ok()?, last.trim().parse().ok()?);
    Some((begin, last.checked_add(1)?))
}
