//! The error that crosses a seam: the error of a stage, and who can do something about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who can do something about a failure. The kind decides the exit code and the tone of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The Dockerfile, the command line or the context is wrong.
    User,
    /// The command of a RUN ended with a non-zero status or a signal.
    Step,
    /// This machine cannot do what the build needs.
    Environment,
    /// A registry refused, or could not be reached.
    Remote,
    /// A defect of xbuild, or a full or broken disk.
    Internal,
}

/// A failure of one step, with its cause erased: `solve` knows none of the stages' error types.
///
/// Displays as its cause. The cause's own `source` chain is kept.
#[derive(Clone)]
pub struct StepFailure {
    kind: FailureKind,
    cause: Arc<dyn Error + Send + Sync>,
    hint: Option<Arc<str>>,
}

impl StepFailure {
    /// Wraps the error of a stage. A full or broken disk is [`FailureKind::Internal`] and has a hint,
    /// whichever stage met it.
    pub fn new(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        let hint = storage_fault(&cause);
        let kind = if hint.is_some() { FailureKind::Internal } else { kind };
        Self { kind, cause: Arc::new(cause), hint: hint.map(Arc::from) }
    }

    /// Adds advice for the user.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Arc<str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns advice for the user, if there is any.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Returns the error of the stage.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.cause
    }
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

impl fmt::Debug for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.kind, self.cause)
    }
}

impl Error for StepFailure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// The failure of a task, in the form in which it crosses processes: its causes are words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct TaskFailure {
    /// Who can do something about it.
    pub kind: FailureKind,
    /// The error and its causes, in one line.
    pub message: String,
    /// Advice, if anything is known to help.
    pub hint: Option<String>,
}

impl TaskFailure {
    /// Puts an error of that kind in words; a full or broken disk is told as in [`StepFailure::new`].
    pub fn new(kind: FailureKind, error: &(dyn Error + 'static)) -> Self {
        let words: Vec<String> = chain(error).iter().map(ToString::to_string).collect();
        let message = words.join(": ");
        let hint = storage_fault(error);
        let kind = if hint.is_some() { FailureKind::Internal } else { kind };
        Self { kind, message, hint: hint.map(str::to_owned) }
    }
}

impl From<String> for TaskFailure {
    fn from(message: String) -> Self {
        Self { kind: FailureKind::Internal, message, hint: None }
    }
}

/// Returns advice if an error, or one of its causes, is the system's word that a disk is full or
/// broken.
pub fn storage_fault(error: &(dyn Error + 'static)) -> Option<&'static str> {
    let errno = |error: &&(dyn Error + 'static)| error.downcast_ref::<io::Error>()?.raw_os_error();
    chain(error).iter().filter_map(errno).find_map(storage_fault_of)
}

/// Returns an error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut list = vec![error];
    let mut next = error.source();
    while let Some(error) = next {
        list.push(error);
        next = error.source();
    }
    list
}

/// Returns advice if an error number says that a disk is full or broken.
///
/// **Source** — `errno(3)`.
pub fn storage_fault_of(errno: i32) -> Option<&'static str> {
    const EIO: i32 = 5;
    match io::Error::from_raw_os_error(errno).kind() {
        io::ErrorKind::StorageFull => Some(
            "the disk is full: make room on it; `xbuild prune` removes what the store has cached",
        ),
        io::ErrorKind::QuotaExceeded => Some(
            "the disk quota is used up: raise it or make room; `xbuild prune` removes what the \
             store has cached",
        ),
        _ if errno == EIO => {
            Some("the disk cannot be read or written: the kernel's log says what is wrong with it")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_full_or_broken_disk_is_told_whoever_met_it() {
        for (errno, word) in [(28, "full"), (122, "quota"), (5, "kernel's log")] {
            let error = || Outer(io::Error::from_raw_os_error(errno));
            let failure = StepFailure::new(FailureKind::Remote, error());
            assert_eq!(failure.kind(), FailureKind::Internal);
            assert!(failure.hint().unwrap().contains(word), "{errno}");
            let failure = TaskFailure::new(FailureKind::User, &error());
            assert_eq!(failure.kind, FailureKind::Internal);
            assert!(failure.message.starts_with("cannot write: "), "{failure}");
            assert!(failure.hint.unwrap().contains(word), "{errno}");
        }
        let denied = StepFailure::new(FailureKind::User, Outer(io::Error::from_raw_os_error(13)));
        assert_eq!((denied.kind(), denied.hint()), (FailureKind::User, None));
    }
}
