//! Waits between attempts: exponential, with jitter, and at least as long as the server asks for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use crate::date::parse_date;
use crate::error::RequestError;
use crate::options::Retries;
use crate::transport::origin::Origin;

impl Retries {
    /// Returns the wait after `failures` failures in a row (at least one).
    ///
    /// It is between half and all of the doubled delay, so that clients that failed together do not
    /// come back together; the wait that the server asks for is a lower bound, unless it is too long.
    pub(crate) fn delay(&self, failures: u32, asked: Option<Duration>) -> Duration {
        let full = self.first_delay.saturating_mul(1 << (failures.clamp(1, 16) - 1));
        // A new hasher has a random seed: enough for a jitter, without another dependency.
        let jitter = RandomState::new().hash_one(failures) % 512;
        let own = full / 2 + (full / 2).mul_f64(jitter as f64 / 511.0);
        own.min(self.max_delay).max(asked.unwrap_or_default().min(self.max_asked))
    }
}

/// Times that a server may let one request wait to the end: the second shows whether it was a fault
/// of the network. With more, a server that never finishes would hold a build for minutes.
const MAX_STALLS: u32 = 2;

/// The attempts at one request that failed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Attempts {
    failures: u32,
    stalls: u32,
}

impl Attempts {
    /// Counts a failure, and returns whether another attempt may help.
    pub(crate) fn again(&mut self, retries: &Retries, error: &RequestError) -> bool {
        self.after(retries, error, error.is_retryable())
    }

    /// As [`Attempts::again`], where the caller knows whether another attempt may help.
    pub(crate) fn after(&mut self, retries: &Retries, error: &RequestError, helps: bool) -> bool {
        self.failures += 1;
        self.stalls += u32::from(matches!(error, RequestError::Stalled { .. }));
        let is_long = error.retry_after().is_some_and(|wait| wait > retries.max_asked);
        let max_stalls = if retries.is_hasty { 1 } else { MAX_STALLS };
        helps && self.failures < retries.attempts && self.stalls < max_stalls && !is_long
    }

    /// Returns the number of failures.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }
}

/// Returns the wait that a `Retry-After` header asks for: seconds, or a date by the clock of the
/// server, which its `Date` header shows.
///
/// **Source** — RFC 9110 § 10.2.3.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim());
    let wanted = text(RETRY_AFTER)?;
    if let Ok(seconds) = wanted.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let own = || Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs());
    let now = text(DATE).and_then(parse_date).or_else(own)?;
    Some(Duration::from_secs(parse_date(wanted)?.saturating_sub(now)))
}

/// Keeps all threads from an origin that limits the rate of requests.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed_until: Mutex<HashMap<Origin, Instant>>,
}

/// The waits that the user was told of.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    told_until: Mutex<HashMap<String, Instant>>,
}

/// The longest wait that nobody is told of.
const QUIET: Duration = Duration::from_secs(3);

impl Waits {
    /// Counts a wait for a server. Returns whether it is to be told: it is long, and no other request
    /// waits for the server already.
    pub(crate) fn begin(&self, server: &str, delay: Duration) -> bool {
        let now = Instant::now();
        let Some(until) = now.checked_add(delay).filter(|_| delay > QUIET) else { return false };
        let mut told = self.told_until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = told.get(server).is_none_or(|end| *end <= now);
        if is_new {
            told.insert(server.to_owned(), until);
        }
        is_new
    }
}

impl Gate {
    /// Closes the gate for `delay` from now, or longer if it is closed for longer already.
    pub(crate) fn close(&self, origin: &Origin, delay: Duration) {
        let Some(until) = Instant::now().checked_add(delay) else { return };
        let mut closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
        let end = closed.entry(origin.clone()).or_insert(until);
        *end = until.max(*end);
    }

    /// Waits until the gate is open.
    pub(crate) async fn pass(&self, origin: &Origin) {
        let until = {
            let closed = self.closed_until.lock().unwrap_or_else(PoisonError::into_inner);
            closed.get(origin).copied()
        };
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_are_bounded() {
        let retries = Retries {
            attempts: 9,
            first_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(2),
            max_asked: Duration::from_secs(9),
            is_hasty: false,
        };
        for (failures, low, high) in [(1, 50, 100), (2, 100, 200), (3, 200, 400), (40, 2000, 2000)]
        {
            let delay = retries.delay(failures, None).as_millis();
            assert!((low..=high).contains(&delay), "{failures}: {delay}");
        }
        assert_eq!(retries.delay(1, Some(Duration::from_secs(1))), Duration::from_secs(1));
        assert_eq!(retries.delay(1, Some(Duration::from_secs(8))), Duration::from_secs(8));
        assert_eq!(retries.delay(1, Some(Duration::MAX)), retries.max_asked);
    }

    #[test]
    fn reads_only_sensible_wishes() {
        let parse = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(parse("7"), Some(Duration::from_secs(7)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert!(parse("Fri, 31 Dec 9999 23:59:59 GMT").unwrap() > Duration::from_secs(86400));
        for bad in ["-1", "", "1e9", "Sun, 06 Nov 1994", "soon"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_date_is_one_of_the_servers_clock() {
        let pairs = [
            (DATE, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (RETRY_AFTER, "Sun, 06 Nov 1994 08:50:07 GMT"),
        ];
        let headers = pairs.map(|(name, text)| (name, text.parse().unwrap()));
        assert_eq!(retry_after(&headers.into_iter().collect()), Some(Duration::from_secs(30)));
    }

    #[test]
    fn a_wait_is_told_once() {
        let (waits, long) = (Waits::default(), QUIET * 2);
        assert!(!waits.begin("r.example", QUIET));
        assert!(waits.begin("r.example", long) && !waits.begin("r.example", long));
        assert!(waits.begin("s.example", long));
    }
}
