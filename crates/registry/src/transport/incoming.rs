//! An answer whose body is read piece by piece, and the pace at which it has to come.

use std::time::Duration;

use reqwest::Response;

/// Bytes a second that a body must have on average, or the connection is given up: less than the
/// slowest links have, and enough that no body takes for ever.
const SLOWEST: u64 = 1 << 10;

/// An answer whose body is being read.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) response: Response,
    pub(super) pace: Pace,
}

impl From<Response> for Incoming {
    fn from(response: Response) -> Self {
        Self { response, pace: Pace::default() }
    }
}

/// The bytes that came in the window that is now open.
///
/// Only the time spent waiting for the network counts: a reader that is slow itself, as a full
/// disk's, does not make the server slow.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    bytes: u64,
}

impl Pace {
    /// Returns how long the next bytes may be waited for.
    pub(super) fn left(&self, window: Duration) -> Duration {
        window.saturating_sub(self.waited)
    }

    /// Counts bytes that came after a wait.
    ///
    /// Returns whether they are enough so far. At the end of a window of waiting they are enough if
    /// [`SLOWEST`] was kept up; then the next window begins.
    pub(super) fn goes_on(&mut self, waited: Duration, bytes: u64, window: Duration) -> bool {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < window {
            return true;
        }
        let wanted = SLOWEST as u128 * window.as_millis() / 1000;
        let enough = u128::from(self.bytes) >= wanted.max(1);
        *self = Self::default();
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_drips_is_told_from_a_slow_one() {
        let window = Duration::from_secs(60);
        for (bytes, seconds, expected) in
            [(1, 1, false), (1, 59, false), (1000, 1, false), (1024, 1, true), (30_720, 30, true)]
        {
            let (mut pace, mut goes_on) = (Pace::default(), true);
            for _ in 0..180 / seconds {
                let wait = Duration::from_secs(seconds).min(pace.left(window));
                goes_on &= pace.goes_on(wait, bytes, window);
            }
            assert_eq!(goes_on, expected, "{bytes} bytes each {seconds} s");
        }
        // A slow reader: the bytes are there when it asks.
        let mut pace = Pace::default();
        assert!((0..1000).all(|_| pace.goes_on(Duration::from_millis(1), 1, window)));
        // Silence for a window is too long, whatever came before it.
        assert!(pace.goes_on(window, 1 << 20, window));
        assert!(!pace.goes_on(window, 0, window));
    }
}
