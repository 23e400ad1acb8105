//! Error numbers that travel between processes.

use std::io;

use serde::{Deserialize, Serialize};
use xbuild_model::thread::ThreadError;
use xbuild_model::{FailureKind, StepFailure, machine_fault_of};
use xbuild_wording::Hint;

/// The kernel's reason for a refusal; unlike [`io::Error`] it can be sent to another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errno(i32);

impl Errno {
    /// Returns the number.
    pub fn number(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<ThreadError>());
        let errno = refused.map_or(error, |refused| &refused.source).raw_os_error();
        Self(errno.unwrap_or_else(|| match error.kind() {
            // An error that wraps the kernel's, and does not show it.
            io::ErrorKind::StorageFull => libc::ENOSPC,
            io::ErrorKind::QuotaExceeded => libc::EDQUOT,
            io::ErrorKind::FileTooLarge => libc::EFBIG,
            // Another error without a number of the kernel can only be one of our own making.
            _ => libc::EIO,
        }))
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Self {
        Self::from(&error)
    }
}

impl From<nix::errno::Errno> for Errno {
    fn from(error: nix::errno::Errno) -> Self {
        Self(error as i32)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Self {
        Self(error.raw_os_error())
    }
}

/// Returns the kernel's reason for an error.
pub(super) fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(errno) = cause.downcast_ref::<Errno>() {
            return Some(*errno);
        }
        next = cause.source();
    }
    None
}

/// Wraps an error of that kind, with its advice. If `source` is a fault of the machine, that is told.
pub(super) fn step_failure(
    kind: FailureKind,
    hint: Option<Hint>,
    source: Option<Errno>,
    error: impl std::error::Error + Send + Sync + 'static,
) -> StepFailure {
    if let Some(fault) = source.and_then(|errno| machine_fault_of(errno.number())) {
        return StepFailure::new(fault.kind, error).with_hint(fault.hint);
    }
    let failure = StepFailure::new(kind, error);
    hint.into_iter().fold(failure, StepFailure::with_hint)
}
