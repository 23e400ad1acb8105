//! Warnings about registries and logins: the work goes on.

use std::fmt;
use std::sync::Arc;

use crate::error::CredentialsError;

/// A warning about a registry or a login.
///
/// It displays as one line without control characters.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistryWarning {
    /// The helper of all registries failed; the work goes on without its login.
    HelperSkipped {
        /// Host and port of the registry.
        registry: String,
        /// The failure.
        fault: Arc<CredentialsError>,
    },
    /// A mirror failed; the next place is asked.
    Mirror {
        /// Host and port of the mirror.
        mirror: String,
        /// The reason.
        reason: String,
    },
    /// A mirror does not answer; it is asked no more.
    SilentMirror {
        /// Host and port of the mirror.
        mirror: String,
        /// The reason.
        reason: String,
    },
    /// A server wants to be left alone for a while.
    ServerWaits {
        /// Host and port of the server.
        server: String,
        /// The seconds until it is asked again.
        seconds: u64,
        /// Its answer.
        reason: String,
    },
    /// A helper takes a while.
    HelperWaits {
        /// The program.
        program: String,
        /// Host and port of the registry.
        registry: String,
        /// The seconds that it may take in all.
        seconds: u64,
    },
}

impl fmt::Display for RegistryWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HelperSkipped { registry, fault } => {
                write!(f, "{fault}; {registry} is asked without its login")
            }
            Self::Mirror { mirror, reason } => {
                write!(f, "the mirror {mirror} fails, so the next place is asked: {reason}")
            }
            Self::SilentMirror { mirror, reason } => {
                write!(f, "the mirror {mirror} does not answer, so it is asked no more: {reason}")
            }
            Self::ServerWaits { server, seconds, reason } => {
                write!(f, "waiting {seconds} s before {server} is asked again: {reason}")
            }
            Self::HelperWaits { program, registry, seconds } => write!(
                f,
                "waiting for the credential helper {program}, which is asked for the login to \
                 {registry}, up to {seconds} s"
            ),
        }
    }
}
