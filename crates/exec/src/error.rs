//! The errors of this crate.

mod errno;
mod run;
mod sandbox;

use std::io;

pub use errno::Errno;
pub use run::{Complaint, RunError};
pub use sandbox::SandboxError;

/// Returns an error with its causes in one line.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Returns the number of an error of the kernel; `EIO` for one that is not the kernel's.
pub(crate) fn errno_of(error: io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}

/// Why a step could not be put under its system call filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeccompError {
    /// No system call table is known for the machine that xbuild runs on.
    #[error("no system call filter for {architecture} hosts, only for amd64 and arm64")]
    UnsupportedHost {
        /// The host's architecture.
        architecture: String,
    },
    /// The kernel refused the filter.
    #[error("cannot install the system call filter")]
    Install {
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
}

/// Why programs of a foreign architecture cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmulationError {
    /// The calling process is in the initial user namespace, where a mount is the host's.
    #[error("refusing to register emulators for the whole machine: not in a user namespace")]
    HostNamespace,
    /// The file system that was mounted is not a fresh private one.
    #[error("refusing to register emulators: the binfmt_misc that was mounted is shared")]
    SharedInstance,
    /// The kernel does not let this user namespace have a binfmt_misc of its own.
    #[error("cannot mount a private binfmt_misc")]
    Mount {
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel refused an entry.
    #[error("cannot register the emulator for {architecture} programs")]
    Register {
        /// The architecture.
        architecture: &'static str,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The emulator's file could not be read or copied.
    #[error("cannot load the emulator {path}")]
    Load {
        /// Its path.
        path: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// An installed emulator is not what was installed.
    #[error(
        "the installed emulator {name} for {architecture} programs is damaged: {path} {}",
        if cause.is_some() { "cannot be loaded" } else { "does not have its digest any more" }
    )]
    Damaged {
        /// The name that its file had.
        name: String,
        /// The architecture.
        architecture: &'static str,
        /// The path of its file.
        path: String,
        /// Why it cannot be loaded; `None` if it has other bytes.
        #[source]
        cause: Option<Box<EmulationError>>,
    },
    /// The file is a program that cannot serve as an emulator, or no program.
    #[error("{path} cannot be used as an emulator: {reason}")]
    Unusable {
        /// Its path.
        path: String,
        /// Why, in words.
        reason: &'static str,
    },
}
