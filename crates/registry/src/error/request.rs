//! Requests that fail.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use xbuild_model::Cancelled;
use xbuild_wording::{Hint, hints, quoted};

use crate::detail::Detail;
use crate::error::credentials::CredentialsError;
use crate::error::reason::{Reason, within};

/// Why one HTTP request, with the authentication it needed, had no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No connection: name resolution, TCP or TLS.
    #[error("cannot connect to {url}")]
    Connect {
        /// The URL of the request, redacted.
        url: String,
        /// The cause.
        #[source]
        source: Reason,
    },
    /// The two sides do not agree on a secure connection, or the certificate is not trusted.
    #[error("no secure connection to {url}")]
    Tls {
        /// The URL of the request, redacted.
        url: String,
        /// Whether the server does not speak TLS at all.
        is_plain: bool,
        /// The cause.
        #[source]
        source: Box<rustls::Error>,
    },
    /// Nothing, or too little, came or went for some time.
    #[error("{url} {what} in {seconds} s")]
    Stalled {
        /// The URL of the request, redacted.
        url: String,
        /// The failing of the server, from the verb on.
        what: &'static str,
        /// The time in seconds.
        seconds: u64,
    },
    /// The connection broke during the request or the answer.
    #[error("the connection to {url} broke")]
    Broken {
        /// The URL of the request, redacted.
        url: String,
        /// The cause.
        #[source]
        source: Reason,
    },
    /// The user's configuration forbids it.
    #[error("{repository} is blocked by registries.conf")]
    Blocked {
        /// Registry and repository.
        repository: String,
    },
    /// The server answered with a status that does not mean success.
    #[error("{url} answered {status}{detail}{wait}", wait = asked(.retry_after.unwrap_or_default()))]
    Status {
        /// The URL of the request, redacted.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The explanation of the server.
        detail: Detail,
        /// The wait that the server asks for before the next attempt.
        retry_after: Option<Duration>,
    },
    /// The server wants other credentials, or does not allow this request with these.
    #[error("{registry} denied access for {scope} ({status}{detail})")]
    Denied {
        /// Host and port of the registry.
        registry: String,
        /// The repositories and actions of the request.
        scope: String,
        /// The HTTP status.
        status: u16,
        /// The explanation of the server.
        detail: Detail,
        /// The failure of a helper that was done without.
        #[source]
        helper: Option<Arc<CredentialsError>>,
    },
    /// The token server of the registry gives no token.
    #[error(
        "{registry} denied access for {scope}: its token server {url} answered {status}{detail}{wait}",
        wait = asked(Duration::from_secs(.seconds.unwrap_or_default().into()))
    )]
    TokenServer {
        /// The URL of the token server, redacted.
        url: Box<str>,
        /// Host and port of the registry.
        registry: Box<str>,
        /// The repositories and actions of the request.
        scope: Box<str>,
        /// The HTTP status.
        status: u16,
        /// The explanation of the server.
        detail: Detail,
        /// The wait in seconds that the server asks for before the next attempt.
        seconds: Option<u32>,
        /// The failure of a helper that was done without.
        #[source]
        helper: Option<Arc<CredentialsError>>,
    },
    /// The answer is longer than its kind may be.
    #[error("the answer of {url} is longer than {limit} bytes")]
    TooLong {
        /// The URL of the request, redacted.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The answer points to a place that is not followed.
    #[error("{url} points to {target}: {reason}", target = quoted(.target))]
    Target {
        /// The URL of the request, redacted.
        url: String,
        /// The place, redacted.
        target: String,
        /// The rule that forbids it.
        reason: &'static str,
    },
    /// The answer of a server leads to an address that the server may not lead to: from the internet
    /// into a private network, or from elsewhere to this machine.
    #[error("{url} points to {target}, which is at {address}, {kind}: that is not followed")]
    Reach {
        /// The URL of the request, or a name of the answer, redacted.
        url: String,
        /// The place, redacted.
        target: String,
        /// The address, or the host if that says enough.
        address: String,
        /// The kind of the address.
        kind: &'static str,
    },
    /// A 401 without a challenge that the client can meet.
    #[error(
        "{url} asks for an unsupported kind of authentication: {challenge}",
        challenge = quoted(.challenge)
    )]
    Challenge {
        /// The URL of the request, redacted.
        url: String,
        /// The names of the schemes that the server offers.
        challenge: String,
    },
    /// The answer of the token server holds no token.
    #[error("the token server {url} gave no usable token")]
    Token {
        /// The server, redacted.
        url: String,
    },
    /// There are credentials, but anybody on the way could read them.
    #[error("the credentials for {registry} are not sent over plain HTTP")]
    PlainCredentials {
        /// Host and port of the registry.
        registry: String,
    },
    /// The credentials could not be read or fetched.
    #[error("no credentials for {registry}")]
    Credentials {
        /// Host and port of the registry.
        registry: String,
        /// The cause.
        #[source]
        source: Arc<CredentialsError>,
    },
    /// A header that the protocol needs is absent or malformed.
    #[error("{url} sent no usable {header} header")]
    Header {
        /// The URL of the request, redacted.
        url: String,
        /// The header.
        header: &'static str,
    },
    /// The request is not wanted any more.
    #[error("{Cancelled}")]
    Cancelled,
    /// The proxy is none that requests can go through.
    #[error("the proxy{proxy} of {variable} cannot be used: {reason}")]
    Proxy {
        /// The environment variable that usually names it.
        variable: &'static str,
        /// A space and the URL of the proxy without user and password, if it is a URL.
        proxy: String,
        /// The reason.
        reason: &'static str,
    },
    /// The HTTP client could not be set up from the options.
    #[error("cannot set up the HTTP client: {what}")]
    Setup {
        /// The part that failed.
        what: &'static str,
    },
    /// The system gives nothing to make connections with.
    #[error("cannot make network connections")]
    Runtime {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

impl RequestError {
    /// Returns the failed request among the causes of an error.
    pub fn within<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            cause = within(error);
        }
        None
    }

    /// Returns whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Stalled { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } | Self::TokenServer { status, .. } => {
                // From 520 on: a proxy, such as Cloudflare's, could not reach its server.
                matches!(status, 408 | 425 | 429 | 500 | 502..=504 | 520 | 522 | 524)
            }
            _ => false,
        }
    }

    /// Returns whether a token server has refused these credentials.
    pub(crate) fn is_denied_token(&self) -> bool {
        matches!(self, Self::TokenServer { status: 400 | 401 | 403, .. })
    }

    /// Adds the failure of a helper that was done without.
    pub(crate) fn with_helper(self, failure: Option<Arc<CredentialsError>>) -> Self {
        match self {
            Self::TokenServer { url, registry, scope, status, detail, seconds, helper } => {
                let helper = helper.or(failure);
                Self::TokenServer { url, registry, scope, status, detail, seconds, helper }
            }
            other => other,
        }
    }

    /// Returns the registry's explanation, if there was an answer.
    pub(crate) fn detail(&self) -> Option<&Detail> {
        match self {
            Self::Status { detail, .. } | Self::Denied { detail, .. } => Some(detail),
            _ => None,
        }
    }

    /// Returns whether the registry gives a code as its reason.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.detail().is_some_and(|detail| detail.has_code(code))
    }

    /// Returns whether the registry denies access with the credentials of the request.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Denied { .. }) || self.is_denied_token()
    }

    /// Returns the HTTP status of the registry's answer, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Denied { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether a server limits the rate of requests.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Status { status: 429, .. } | Self::TokenServer { status: 429, .. })
    }

    /// Returns the wait that the server asks for before the next attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::TokenServer { seconds, .. } => {
                seconds.map(|seconds| Duration::from_secs(seconds.into()))
            }
            _ => None,
        }
    }

    /// Returns what the user can do about it.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Denied { registry, .. } => Some(hints::repository_and_login(registry)),
            Self::TokenServer { registry, .. } if self.is_denied_token() => {
                Some(hints::repository_and_login(registry))
            }
            Self::Reach { .. } => Some(hints::name_that_url()),
            Self::PlainCredentials { .. } => Some(hints::use_https()),
            Self::Tls { is_plain: true, .. } => Some(hints::no_tls()),
            Self::Tls { .. } => Some(hints::trust_certificate()),
            _ if self.is_limit() => Some(hints::rate_limit()),
            _ => None,
        }
    }
}

/// Returns words for the wait that a server asks for.
fn asked(wait: Duration) -> String {
    let time = match wait.as_secs() {
        0 => return String::new(),
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    };
    format!("; it asks for a wait of {time}")
}

/// Finds an error of TLS in the causes: asking again does not make a certificate valid.
pub(crate) fn tls_error(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.clone());
        }
        cause = within(error);
    }
    None
}
