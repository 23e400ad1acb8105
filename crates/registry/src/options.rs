//! What a client is told by its user.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use crate::auth::credentials::Credentials;

/// Options of a [`crate::Client`]. The defaults suit a public registry without a login.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Who we are where.
    pub credentials: Credentials,
    /// Registries, host and port as in a reference, that are spoken to over plain HTTP. Those on
    /// a loopback address always are; all others never, whatever they answer.
    pub insecure: BTreeSet<String>,
    /// Whether credentials may go to registries of `insecure`, where anybody on the way can read
    /// them.
    pub insecure_credentials: bool,
    /// Certificates to trust besides the system's; each value is PEM text with any number.
    pub extra_roots: Vec<Vec<u8>>,
    /// Proxies.
    pub proxies: Proxies,
    /// How often and when a failed request is made again.
    pub retries: Retries,
    /// When to give up on a silent server.
    pub timeouts: Timeouts,
    /// How many blobs are pushed at a time, at least one.
    pub jobs: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            insecure: BTreeSet::new(),
            insecure_credentials: false,
            extra_roots: Vec::new(),
            proxies: Proxies::default(),
            retries: Retries::default(),
            timeouts: Timeouts::default(),
            jobs: 4,
        }
    }
}

/// The proxies to use, in the meaning of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. Loopback is
/// never asked through a proxy.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http` URLs.
    pub http: Option<String>,
    /// The proxy for `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, joined by commas.
    pub bypass: String,
}

impl fmt::Debug for Proxies {
    // The URL of a proxy may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("bypass", &self.bypass)
            .finish()
    }
}

/// How often and when a failed request is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often a request is made at most, at least once.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest wait, whatever the server asks for.
    pub max_delay: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(60),
        }
    }
}

/// When to give up on a silent server. All of these count from the last sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the next bytes of an answer, or for the server to take the next bytes of a blob.
    pub stall: Duration,
    /// For the answer after the last byte of a blob was sent: registries hash it then.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            stall: Duration::from_secs(60),
            commit: Duration::from_secs(600),
        }
    }
}
