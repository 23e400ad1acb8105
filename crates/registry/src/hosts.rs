//! What is particular about single registries: mirrors, certificates, headers.

use std::fmt;

use crate::auth::credential::Secret;

/// The options of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// The places that are asked before the registry itself, for pulls.
    pub mirrors: Vec<Mirror>,
    /// Whether certificates are not checked, and plain HTTP is spoken where the server does not speak
    /// TLS.
    pub insecure: bool,
    /// Whether logins may go over plain HTTP. Anybody on the way can read them.
    pub insecure_credentials: bool,
    /// Certificates to trust besides the system's: PEM texts, each with any number of certificates.
    pub roots: Vec<Vec<u8>>,
    /// The certificate that shows who the client is.
    pub client_certificate: Option<ClientCertificate>,
    /// Headers of every request.
    pub headers: Vec<(String, Secret)>,
    /// Bytes that one request of an upload may have.
    pub chunk: Option<u64>,
}

/// A place with the images of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Host and port.
    pub host: String,
    /// The repository below which the repositories of the registry are; empty for none.
    pub path: String,
}

impl Mirror {
    /// Reads `HOST[:PORT][/PATH]`.
    pub fn parse(text: &str) -> Self {
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        Self { host: host.to_owned(), path: path.trim_matches('/').to_owned() }
    }
}

/// A client certificate with its key, as PEM texts.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those up to its authority.
    pub chain: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate(***)")
    }
}
