//! Reading a blob of a registry as a stream that resumes by itself.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::header::{CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, Response};
use tracing::{Span, debug_span};
use xbuild_model::Descriptor;

use crate::auth::scope::Scope;
use crate::connections::Connections;
use crate::endpoint::Endpoint;
use crate::error::{PullError, RequestError};
use crate::request::Call;
use crate::transport::incoming::Incoming;
use crate::transport::retry::Attempts;

/// Bytes without a failure after which earlier failures no longer count.
const FORGIVEN_AFTER: u64 = 1 << 20;

/// The bytes of a blob from an offset to its end.
///
/// When the connection breaks, the rest is requested again. The reader checks the size but not the
/// digest, which its caller knows after the last byte.
pub(crate) struct BlobReader {
    connections: Arc<Connections>,
    endpoint: Endpoint,
    repository: String,
    descriptor: Descriptor,
    /// The offset of the next byte that `read` returns.
    position: u64,
    /// Bytes that came and were not read yet.
    chunk: Bytes,
    response: Option<Incoming>,
    /// The number of bytes to skip at the beginning of the response: they were read before.
    discard: u64,
    /// Set once the server has not served the requested range.
    ignores_range: bool,
    attempts: Attempts,
    since_failure: u64,
    finished: bool,
    /// It lasts from the first request until the reader is dropped.
    span: Span,
}

impl BlobReader {
    /// Requests the blob; returns once the answer has begun.
    pub(crate) fn open(
        connections: Arc<Connections>,
        endpoint: Endpoint,
        repository: &str,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Self, PullError> {
        let mut reader = Self {
            connections,
            endpoint,
            repository: repository.to_owned(),
            descriptor: descriptor.clone(),
            position: offset,
            chunk: Bytes::new(),
            response: None,
            discard: 0,
            ignores_range: false,
            attempts: Attempts::default(),
            since_failure: 0,
            finished: false,
            span: debug_span!("blob", digest = %descriptor.digest, size = descriptor.size),
        };
        reader.span.clone().in_scope(|| reader.connect())?;
        Ok(reader)
    }

    fn connect(&mut self) -> Result<(), PullError> {
        let scope = Scope::pull(&self.repository);
        let url = self.endpoint.blob(&self.repository, &self.descriptor.digest);
        let mut call = Call::new(&self.endpoint, &scope, Method::GET, url);
        let offset = if self.ignores_range { 0 } else { self.position };
        if offset > 0 {
            let range = HeaderValue::try_from(format!("bytes={offset}-"));
            call.headers.insert(RANGE, range.expect("a number is ASCII"));
        }
        let response = self.connections.call(&call).map_err(|source| self.failed(source))?;
        let begins_at = match response.status().as_u16() {
            206 => content_range(&response),
            _ => Some(0),
        };
        match begins_at {
            Some(begin) if begin <= self.position => self.discard = self.position - begin,
            // It is another range. Request the whole blob.
            _ if !self.ignores_range => {
                self.ignores_range = true;
                return self.connect();
            }
            _ => {
                let url = crate::transport::origin::redact(response.url());
                let header = "Content-Range";
                return Err(self.failed(RequestError::Header { url, header }));
            }
        }
        let length = self.descriptor.size - self.position + self.discard;
        if response.content_length().is_some_and(|sent| sent != length) {
            return Err(self.wrong_size());
        }
        self.response = Some(response.into());
        Ok(())
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
                        return Err(self.wrong_size());
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
                Ok(None) => return Err(self.wrong_size()),
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
        if !self.attempts.again(&self.connections.options.retries, &source) {
            return Err(self.failed(source));
        }
        self.connections.wait(&self.endpoint, self.attempts.failures(), &source);
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}/{}", self.endpoint.registry(), self.repository)
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
            self.span.clone().in_scope(|| self.advance()).map_err(io::Error::other)?;
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.position += length as u64;
        Ok(length)
    }
}

/// Returns the offset at which a partial answer begins.
fn content_range(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
