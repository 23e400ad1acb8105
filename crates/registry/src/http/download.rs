//! One download.
//!
//! The rules of `transport` hold: redirects are counted, never lead from `https` to `http` and never
//! further into a network, and a silent connection is given up. Credentials of registries are not sent.
//!
//! **Source** — RFC 9110 § 13 Conditional Requests, § 15.4 Redirection.

use std::io::{self, Write};
use std::time::SystemTime;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Response, Url};

use crate::client::Client;
use crate::connections::Connections;
use crate::error::{DownloadError, RequestError};
use crate::http::validators::Validators;
use crate::transport::exchange::Patience;
use crate::transport::incoming::Incoming;
use crate::transport::origin::Origin;
use crate::transport::retry::Attempts;
use crate::transport::trail::Trail;

/// The file to download.
#[derive(Clone, Copy)]
pub struct DownloadRequest<'a> {
    /// An `http` or `https` URL without user information.
    pub url: &'a str,
    /// The `Authorization` header. Only the origin of `url` gets it, not the targets of redirects.
    pub authorization: Option<&'a str>,
    /// The version of the file that the caller has already.
    pub known: Option<&'a Validators>,
}

impl std::fmt::Debug for DownloadRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadRequest").field("known", &self.known).finish_non_exhaustive()
    }
}

/// A downloaded file.
#[derive(Debug)]
pub struct Downloaded<W> {
    /// The writer that took its bytes.
    pub file: W,
    /// The version that the server names.
    pub validators: Validators,
}

impl Client {
    /// Downloads a file into the writer that `create` returns. Each attempt has a new writer; that
    /// of a failed attempt is dropped.
    ///
    /// **Shape** — `None` if the server proves that the file is still the version `request.known`:
    /// by a strong `ETag`, or by the same date at the same URL. The size of the file is
    /// not bounded; the memory in use is.
    pub fn download<W: Write>(
        &self,
        request: &DownloadRequest<'_>,
        mut create: impl FnMut() -> io::Result<W>,
    ) -> Result<Option<Downloaded<W>>, DownloadError> {
        let retries = self.connections.options.retries;
        let mut attempts = Attempts::default();
        loop {
            let source = match attempt(&self.connections, request, &mut create) {
                Err(DownloadError::Request { source }) => source,
                other => return other,
            };
            if !attempts.again(&retries, &source) {
                return Err(DownloadError::Request { source });
            }
            let pause = self.connections.pause(request.url, attempts.failures(), &source);
            pause.map_err(|source| DownloadError::Request { source })?;
        }
    }
}

fn attempt<W: Write>(
    connections: &Connections,
    request: &DownloadRequest<'_>,
    create: &mut impl FnMut() -> io::Result<W>,
) -> Result<Option<Downloaded<W>>, DownloadError> {
    let failed = |source| DownloadError::Request { source };
    let mut response =
        connections.block_on(send(connections, request)).and_then(|r| r).map_err(failed)?;
    if response.status().as_u16() == 304 {
        let proven = |known: &Validators| known.are_confirmed(response.url(), response.headers());
        if request.known.is_some_and(proven) {
            return Ok(None);
        }
        // Nothing proves that the file is still the known version: ask for its bytes.
        let anew = DownloadRequest { known: None, ..*request };
        response =
            connections.block_on(send(connections, &anew)).and_then(|r| r).map_err(failed)?;
    }
    let validators = Validators::of(response.url(), response.headers(), SystemTime::now());
    let write = |source| DownloadError::Write { source };
    let mut file = create().map_err(write)?;
    let mut incoming = Incoming::from(response);
    while let Some(chunk) = connections.chunk(&mut incoming).map_err(failed)? {
        file.write_all(&chunk).map_err(write)?;
    }
    file.flush().map_err(write)?;
    Ok(Some(Downloaded { file, validators }))
}

/// Sends the request and follows redirects.
async fn send(
    connections: &Connections,
    request: &DownloadRequest<'_>,
) -> Result<Response, RequestError> {
    let transport = &connections.requests.transport;
    let setup = || RequestError::Setup { what: "the URL" };
    let url = Url::parse(request.url).map_err(|_| setup())?;
    let own = Origin::of(&url).ok_or_else(setup)?;
    let mut trail = Trail::asked(url, own.clone());
    let mut left = connections.options.timeouts.head;
    loop {
        let mut call = Request::new(Method::GET, trail.url.clone());
        let conditions =
            request.known.map(|known| known.conditions(&trail.url)).unwrap_or_default();
        let conditional = !conditions.is_empty();
        call.headers_mut().extend(conditions);
        if let Some(text) = request.authorization.filter(|_| trail.origin == own) {
            let setup = |_| RequestError::Setup { what: "the authorization" };
            let mut value = HeaderValue::try_from(text).map_err(setup)?;
            value.set_sensitive(true);
            call.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = transport.send(call, Patience::Left(&mut left), &trail).await?;
        match response.status().as_u16() {
            304 if conditional => return Ok(response),
            206 => return Err(transport.refusal(response).await),
            200..=299 => return Ok(response),
            301 | 302 | 303 | 307 | 308 => trail.follow(&response)?,
            _ => return Err(transport.refusal(response).await),
        }
    }
}
