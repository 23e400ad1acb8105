//! Files of web servers: what ADD and build contexts name by URL.
//!
//! The rules of the transport hold: no credentials of registries are sent, redirects are counted
//! and never lead from `https` to `http` or to this machine, silence ends a connection.
//!
//! **Source** — RFC 9110 § 13 Conditional Requests, § 15.4 Redirection, § 5.6.7 Date/Time Formats.

use std::io::{self, Write};

use reqwest::header::{
    AUTHORIZATION, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use reqwest::{Method, Request, Response, Url};

use crate::client::{Client, Inner};
use crate::error::{DownloadError, RequestError};
use crate::http::origin::{Origin, redact};
use crate::request::{MAX_REDIRECTS, location};

/// The longest validator that is kept, in bytes: longer ones are no use to anybody.
const MAX_VALIDATOR: usize = 1024;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct DownloadRequest<'a> {
    /// An `http` or `https` URL without user information.
    pub url: &'a str,
    /// The `Authorization` header; told to the server of `url` only, not to those it leads to.
    pub authorization: Option<&'a str>,
    /// What is known of the file already.
    pub known: Option<&'a Validators>,
}

impl std::fmt::Debug for DownloadRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DownloadRequest").field("known", &self.known).finish_non_exhaustive()
    }
}

/// What a server said about a version of a file, to be asked whether there is another.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Validators {
    /// The `ETag` header.
    pub etag: Option<String>,
    /// The `Last-Modified` header.
    pub last_modified: Option<String>,
}

/// A file that came.
#[derive(Debug)]
pub struct Downloaded<W> {
    /// What took its bytes.
    pub file: W,
    /// What the server said about it.
    pub validators: Validators,
}

impl Validators {
    /// Returns whether there is anything to ask a server with.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }

    /// Returns when the file was last changed, in seconds since 1970, if the server says so in
    /// the form that all servers use.
    pub fn modified(&self) -> Option<u64> {
        parse_date(self.last_modified.as_deref()?)
    }

    fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let text = headers.get(name)?.to_str().ok()?;
            (!text.is_empty() && text.len() <= MAX_VALIDATOR).then(|| text.to_owned())
        };
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }
}

impl Client {
    /// Gets a file and writes it to what `create` returns. That is called anew for each attempt:
    /// what took the bytes of a failed one is dropped.
    ///
    /// **Shape**: `None` if the file is still what `request.known` says. The size of the file is
    /// not bounded, memory is.
    pub fn download<W: Write>(
        &self,
        request: &DownloadRequest<'_>,
        mut create: impl FnMut() -> io::Result<W>,
    ) -> Result<Option<Downloaded<W>>, DownloadError> {
        let retries = self.inner.options.retries;
        let mut failures = 0;
        loop {
            let source = match attempt(&self.inner, request, &mut create) {
                Err(DownloadError::Request { source }) => source,
                other => return other,
            };
            failures += 1;
            if !source.is_retryable() || failures >= retries.attempts {
                return Err(DownloadError::Request { source });
            }
            std::thread::sleep(retries.delay(failures, source.retry_after()));
        }
    }
}

fn attempt<W: Write>(
    inner: &Inner,
    request: &DownloadRequest<'_>,
    create: &mut impl FnMut() -> io::Result<W>,
) -> Result<Option<Downloaded<W>>, DownloadError> {
    let failed = |source| DownloadError::Request { source };
    let mut response = inner.block_on(send(inner, request)).and_then(|r| r).map_err(failed)?;
    if response.status().as_u16() == 304 {
        return Ok(None);
    }
    let write = |source| DownloadError::Write { source };
    let mut file = create().map_err(write)?;
    while let Some(chunk) = inner.chunk(&mut response).map_err(failed)? {
        file.write_all(&chunk).map_err(write)?;
    }
    file.flush().map_err(write)?;
    Ok(Some(Downloaded { file, validators: Validators::of(response.headers()) }))
}

/// Sends the request and follows redirects.
async fn send(inner: &Inner, request: &DownloadRequest<'_>) -> Result<Response, RequestError> {
    let transport = &inner.http.transport;
    let setup = || RequestError::Setup { what: "the URL" };
    let mut url = Url::parse(request.url).map_err(|_| setup())?;
    let own = Origin::of(&url).ok_or_else(setup)?;
    let mut origin = own.clone();
    let mut redirects = 0;
    loop {
        let mut call = Request::new(Method::GET, url.clone());
        if let Some(known) = request.known {
            let value = |text: &Option<String>| HeaderValue::from_str(text.as_deref()?).ok();
            let headers = call.headers_mut();
            headers.extend(value(&known.etag).map(|value| (IF_NONE_MATCH, value)));
            headers.extend(value(&known.last_modified).map(|value| (IF_MODIFIED_SINCE, value)));
        }
        if let Some(text) = request.authorization.filter(|_| origin == own) {
            let setup = |_| RequestError::Setup { what: "the authorization" };
            let mut value = HeaderValue::try_from(text).map_err(setup)?;
            value.set_sensitive(true);
            call.headers_mut().insert(AUTHORIZATION, value);
        }
        let response = transport.send(call, None).await?;
        match response.status().as_u16() {
            304 if request.known.is_some() => return Ok(response),
            206 => return Err(transport.refusal(response).await),
            200..=299 => return Ok(response),
            301 | 302 | 303 | 307 | 308 => {
                let next = location(&response)?;
                let refused = |reason| RequestError::Target {
                    url: redact(&url),
                    target: redact(&next),
                    reason,
                };
                redirects += 1;
                if redirects > MAX_REDIRECTS {
                    return Err(refused("too many redirects"));
                }
                origin = origin.may_lead_to(&next).map_err(refused)?;
                url = next;
            }
            _ => return Err(transport.refusal(response).await),
        }
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`; nothing before 1970.
fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, time, "GMT"] = words[..] else { return None };
    let number = |text: &str| text.parse::<u64>().ok();
    let (day, year) = (number(day)?, number(year)?);
    let month = MONTHS.iter().position(|name| *name == month)?;
    let time: Vec<u64> = time.split(':').map(number).collect::<Option<_>>()?;
    let [hour, minute, second] = time[..] else { return None };
    if !(1970..=9999).contains(&year)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month];
    let leap_day = if month > 1 { leap_days(year) - leap_days(year - 1) } else { 0 };
    let years = (year - 1970) * 365 + leap_days(year - 1) - leap_days(1969);
    let days = years + before + leap_day + day - 1;
    Some(days * 86400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dates() {
        for (text, expected) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Sat, 29 Feb 2020 23:59:59 GMT", Some(1_583_020_799)),
            ("Sun, 01 Mar 2020 00:00:00 GMT", Some(1_583_020_800)),
            ("Tue, 01 Mar 2100 00:00:00 GMT", Some(4_107_542_400)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }
}
