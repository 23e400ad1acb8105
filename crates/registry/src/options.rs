//! The options of a client.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use xbuild_model::Cancel;

use crate::auth::credentials::Credentials;
use crate::auth::login_file::canonical_host;
use crate::hosts::{HostOptions, PrefixRule};
use crate::warning::RegistryWarning;

/// Options of a [`crate::Client`]. The defaults suit a public registry without a login.
#[derive(Clone)]
pub struct ClientOptions {
    /// The user's credentials.
    pub credentials: Credentials,
    /// Registries that are spoken to over plain HTTP unless they speak TLS, host and port as in a
    /// reference. Registries on a loopback address always are, all others never.
    pub insecure: BTreeSet<String>,
    /// Options of single registries, by host and port in lower case; `*.DOMAIN` for all hosts below a
    /// domain that have none of their own.
    pub hosts: BTreeMap<String, HostOptions>,
    /// Where repositories are pulled from if not from their registry; each prefix once.
    pub prefixes: Vec<PrefixRule>,
    /// Whether credentials may go to registries of `insecure`. Anybody on the way can read them.
    pub insecure_credentials: bool,
    /// Certificates to trust besides the system's: PEM texts, each with any number of certificates.
    pub extra_roots: Vec<Vec<u8>>,
    /// Proxies.
    pub proxies: Proxies,
    /// Addresses of names, in lower case, that are not looked up.
    pub addresses: BTreeMap<String, Vec<IpAddr>>,
    /// The attempts at a request.
    pub retries: Retries,
    /// The times after which a silent server is given up.
    pub timeouts: Timeouts,
    /// Blobs that are pushed at a time; at least one.
    pub jobs: usize,
    /// Ends requests, downloads and uploads that are under way.
    pub cancel: Cancel,
    /// Takes warnings, from several threads.
    pub on_warning: Option<Arc<OnWarning>>,
}

/// Takes warnings.
pub type OnWarning = dyn Fn(&RegistryWarning) + Send + Sync;

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("credentials", &self.credentials)
            .field("insecure", &self.insecure)
            .field("hosts", &self.hosts)
            .field("proxies", &self.proxies)
            .field("retries", &self.retries)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}

impl ClientOptions {
    /// Returns the options of a registry, by host and port.
    pub(crate) fn host(&self, registry: &str) -> Option<&HostOptions> {
        let host = canonical_host(registry);
        let domains = host.match_indices('.').map(|(dot, _)| format!("*{}", &host[dot..]));
        let mut names = std::iter::once(host.clone()).chain(domains);
        names.find_map(|name| self.hosts.get(&name))
    }

    /// Returns the rule for a repository, and the rest of its name below the rule's prefix.
    pub(crate) fn prefix<'r>(
        &self,
        registry: &str,
        repository: &'r str,
    ) -> Option<(&PrefixRule, &'r str)> {
        let of = |rule| Some((rule, PrefixRule::rest(rule, registry, repository)?));
        let rules = self.prefixes.iter().filter_map(of);
        // A wildcard is shorter than any host that it is for.
        rules.max_by_key(|(rule, _)| (!rule.prefix.starts_with('*'), rule.prefix.len()))
    }

    /// Returns whether a registry needs no certificate, nor TLS.
    pub(crate) fn is_insecure(&self, registry: &str) -> bool {
        self.insecure.contains(registry) || self.host(registry).is_some_and(|host| host.insecure)
    }

    /// Tells a warning.
    pub(crate) fn warn(&self, warning: &RegistryWarning) {
        if let Some(on_warning) = &self.on_warning {
            on_warning(warning);
        }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            credentials: Credentials::default(),
            insecure: BTreeSet::new(),
            hosts: BTreeMap::new(),
            prefixes: Vec::new(),
            insecure_credentials: false,
            extra_roots: Vec::new(),
            proxies: Proxies::default(),
            addresses: BTreeMap::new(),
            retries: Retries::default(),
            timeouts: Timeouts::default(),
            jobs: 4,
            cancel: Cancel::default(),
            on_warning: None,
        }
    }
}

/// Proxies, with the meaning of `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`. Loopback addresses are
/// always reached directly.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// The proxy for `http` URLs.
    pub http: Option<String>,
    /// The proxy for `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains and networks to reach directly, joined by commas.
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

/// The attempts at a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// Attempts at most; at least one.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each further attempt.
    pub first_delay: Duration,
    /// The longest wait of our own choice.
    pub max_delay: Duration,
    /// The longest wait that a server may ask for. A request is given up at once if it asks for more.
    pub max_asked: Duration,
    /// Whether a request is given up once the server has let it wait to the end.
    pub is_hasty: bool,
}

impl Retries {
    /// Returns the attempts at what can be done without.
    pub fn hasty() -> Self {
        let short = Duration::from_secs(10);
        Self { attempts: 3, max_delay: short, max_asked: short, is_hasty: true, ..Self::default() }
    }
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(250),
            max_delay: Duration::from_secs(60),
            // Limits by the minute pass; with one by the hour, somebody has to decide.
            max_asked: Duration::from_secs(300),
            is_hasty: false,
        }
    }
}

/// Times after which a server is given up that is silent, or says too little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection is made.
    pub connect: Duration,
    /// Until the head of an answer is here, from the connection on and over all redirects; then
    /// again until a document is here. A server that sends one byte after the other gains no time.
    pub head: Duration,
    /// Until the next bytes of a file come, or the server takes the next bytes of a blob. In each
    /// such time a KiB a second must come.
    pub stall: Duration,
    /// Until the answer comes after the last byte of a blob: registries hash the blob then.
    pub commit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            head: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            commit: Duration::from_secs(600),
        }
    }
}
