//! Images that cannot be loaded into a container engine.

use std::io;

use xbuild_model::FailureKind;
use xbuild_registry::DaemonError;
use xbuild_wording::{Hint, hints, quoted};

use super::{ErrorKind, Fault};

/// Why an image was not loaded into a container engine of this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// There is no engine.
    #[error("there is neither docker nor podman to load the image into{}", list(.tried))]
    NoEngine {
        /// The sockets that are there, and why they do not answer.
        tried: Vec<String>,
    },
    /// The engine that the user named does not answer.
    #[error("cannot load the image into docker at {place}")]
    Unreachable {
        /// Its socket or address.
        place: String,
        /// The cause.
        #[source]
        source: DaemonError,
    },
    /// The engine that the user named is reached in a way that is not implemented.
    #[error("cannot load the image into docker at {host}: {reason}")]
    Host {
        /// The value of `DOCKER_HOST`, or of the context.
        host: String,
        /// The reason.
        reason: &'static str,
    },
    /// Docker's context cannot be read.
    #[error("cannot read the docker context {name}: {reason}", name = quoted(.name))]
    Context {
        /// Its name.
        name: String,
        /// The reason.
        reason: String,
    },
    /// The daemon refused the image, or the connection broke.
    #[error("cannot load the image into {engine}")]
    Daemon {
        /// The engine.
        engine: String,
        /// The cause.
        #[source]
        source: DaemonError,
    },
    /// The program failed.
    #[error("cannot load the image into podman: podman {action}: {said}")]
    Podman {
        /// The subcommand.
        action: &'static str,
        /// Its last words on standard error.
        said: String,
    },
    /// The program could not be run.
    #[error("cannot run podman {action}")]
    Run {
        /// The subcommand.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The engine took the image, and does not have it.
    #[error("{engine} took the image, but does not have it as {name}")]
    Missing {
        /// The engine.
        engine: String,
        /// The name, or the image's ID.
        name: String,
    },
}

/// Returns the parts of a message.
fn list(parts: &[String]) -> String {
    parts.iter().map(|one| format!("; {one}")).collect()
}

impl Fault for LoadError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Daemon { source: DaemonError::Archive { .. }, .. } => {
                ErrorKind::Stage(FailureKind::Internal)
            }
            Self::Host { .. } | Self::Context { .. } => ErrorKind::Request,
            _ => ErrorKind::Stage(FailureKind::Environment),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::NoEngine { .. } => Some(hints::start_docker()),
            Self::Unreachable { .. } => Some(hints::try_docker()),
            Self::Host { .. } | Self::Context { .. } => Some(hints::docker_loads()),
            _ => None,
        }
    }
}
