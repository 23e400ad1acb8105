//! Reading a foreign layer from the places that its descriptor names.
//!
//! No place gets a login, whatever it asks for (CVE-2020-15157), and a registry cannot name a place
//! further inside a network than it is itself.
//!
//! **Source** — OCI image-spec `descriptor.md` § Properties, `urls`; `layer.md` § Non-Distributable
//! Layers.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, Request, Response, Url};
use xbuild_model::Descriptor;

use crate::blob_read::content_range;
use crate::connections::Connections;
use crate::error::{PullError, RequestError};
use crate::transport::exchange::Patience;
use crate::transport::incoming::Incoming;
use crate::transport::origin::{Origin, redact};
use crate::transport::reach::Reach;
use crate::transport::retry::Attempts;
use crate::transport::trail::Trail;

/// The one that named the places.
#[derive(Debug, Clone)]
pub(crate) struct NamedBy {
    /// Its origin; `None` for a file of this machine.
    pub(crate) origin: Option<Origin>,
    /// The addresses that it may lead to.
    pub(crate) reach: Reach,
}

/// The bytes of a foreign layer from an offset to its end. Its size is checked, and its caller checks
/// the digest.
pub(crate) struct ForeignReader {
    connections: Arc<Connections>,
    by: NamedBy,
    /// The place that is asked, and those to ask after it.
    urls: VecDeque<String>,
    descriptor: Descriptor,
    /// The offset of the next byte that `read` returns.
    position: u64,
    chunk: Bytes,
    response: Option<Incoming>,
    /// The number of bytes to skip at the beginning of the response.
    discard: u64,
    attempts: Attempts,
}

impl ForeignReader {
    /// Requests the layer at the first place that has it.
    pub(crate) fn open(
        connections: Arc<Connections>,
        by: NamedBy,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<Self, PullError> {
        let urls = descriptor.foreign_urls().map(ToOwned::to_owned).collect();
        let descriptor = descriptor.clone();
        let mut reader = Self {
            connections,
            by,
            urls,
            descriptor,
            position: offset,
            chunk: Bytes::new(),
            response: None,
            discard: 0,
            attempts: Attempts::default(),
        };
        reader.connect()?;
        Ok(reader)
    }

    /// Requests the rest at one place after the other.
    fn connect(&mut self) -> Result<(), PullError> {
        loop {
            let url = self.urls.front().cloned().unwrap_or_default();
            let found = self.connections.block_on(self.request(&url)).and_then(|answer| answer);
            let error = match found.and_then(|answer| self.take(&url, answer)) {
                Ok(()) => return Ok(()),
                Err(error @ RequestError::Cancelled) => return Err(self.failed(&url, error)),
                Err(error) => error,
            };
            if self.attempts.again(&self.connections.options.retries, &error) {
                self.wait(&error)?;
                continue;
            }
            self.urls.pop_front();
            self.attempts = Attempts::default();
            if self.urls.is_empty() {
                return Err(self.failed(&url, error));
            }
        }
    }

    /// Begins to read an answer.
    fn take(&mut self, url: &str, answer: Response) -> Result<(), RequestError> {
        let begin = match answer.status().as_u16() {
            206 => content_range(&answer).map_or(u64::MAX, |(begin, _)| begin),
            _ => 0,
        };
        if begin > self.position {
            return Err(RequestError::Header { url: shown(url), header: "Content-Range" });
        }
        self.discard = self.position - begin;
        self.response = Some(answer.into());
        Ok(())
    }

    /// Sends a request without a login, and follows redirects.
    async fn request(&self, url: &str) -> Result<Response, RequestError> {
        let transport = &self.connections.requests.transport;
        let setup = || RequestError::Setup { what: "the URL of a foreign layer" };
        let url = Url::parse(url).map_err(|_| setup())?;
        let own = Origin::of(&url).ok_or_else(setup)?;
        let by = self.by.origin.as_ref().unwrap_or(&own);
        let from = format!("the descriptor of {}", self.descriptor.digest);
        let mut trail = Trail::led(from, by, self.by.reach, url)?;
        let mut left = self.connections.options.timeouts.head;
        loop {
            let mut call = Request::new(Method::GET, trail.url.clone());
            if self.position > 0 {
                let range = HeaderValue::try_from(format!("bytes={}-", self.position));
                call.headers_mut().insert(RANGE, range.expect("numbers are ASCII"));
            }
            let answer = transport.send(call, Patience::Left(&mut left), &trail).await?;
            match answer.status().as_u16() {
                200..=299 => return Ok(answer),
                301 | 302 | 303 | 307 | 308 => trail.follow(&answer)?,
                _ => return Err(transport.refusal(answer).await),
            }
        }
    }

    fn wait(&self, error: &RequestError) -> Result<(), PullError> {
        let url = self.urls.front().map(String::as_str).unwrap_or_default();
        let pause = self.connections.pause(url, self.attempts.failures(), error);
        pause.map_err(|error| self.failed("", error))
    }

    /// Gets the next bytes into `chunk`; none at the end.
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
                    if !chunk.is_empty() {
                        self.chunk = chunk;
                        return Ok(());
                    }
                }
                Ok(None) if self.position == self.descriptor.size => return Ok(()),
                Ok(None) => return Err(self.wrong_size()),
                Err(error) => {
                    self.response = None;
                    if !self.attempts.again(&self.connections.options.retries, &error) {
                        let url = self.urls.front().cloned().unwrap_or_default();
                        return Err(self.failed(&url, error));
                    }
                    self.wait(&error)?;
                }
            }
        }
    }

    fn failed(&self, url: &str, source: RequestError) -> PullError {
        let name = format!("foreign layer {} from {}", self.descriptor.digest, shown(url));
        PullError::Request { name, source }
    }

    fn wrong_size(&self) -> PullError {
        let Descriptor { digest, size, .. } = &self.descriptor;
        let name = shown(self.urls.front().map(String::as_str).unwrap_or_default());
        PullError::BlobSize { name, digest: digest.clone(), size: *size }
    }
}

/// Returns a URL without what may be secret in it.
fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "its URL".to_owned(), |url| redact(&url))
}

impl Read for ForeignReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.position == self.descriptor.size {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            self.advance().map_err(io::Error::other)?;
        }
        let length = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..length]);
        self.position += length as u64;
        Ok(length)
    }
}
