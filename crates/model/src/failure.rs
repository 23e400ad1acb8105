//! The error that crosses a seam: the error of a stage, and who can do something about it.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xbuild_wording::{Hint, hints};

use crate::thread::ThreadError;

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
    hint: Option<Hint>,
}

impl StepFailure {
    /// Wraps the error of a stage. A [`MachineFault`] is told as such, whichever stage met it.
    pub fn new(kind: FailureKind, cause: impl Error + Send + Sync + 'static) -> Self {
        let (kind, hint) = told(kind, machine_fault(&cause));
        Self { kind, cause: Arc::new(cause), hint }
    }

    /// Adds advice for the user.
    #[must_use]
    pub fn with_hint(mut self, hint: Hint) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns advice for the user, if there is any.
    pub fn hint(&self) -> Option<&Hint> {
        self.hint.as_ref()
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
    pub hint: Option<Hint>,
}

impl TaskFailure {
    /// Puts an error of that kind in words; a [`MachineFault`] is told as in [`StepFailure::new`].
    pub fn new(kind: FailureKind, error: &(dyn Error + 'static)) -> Self {
        let words: Vec<String> = chain(error).iter().map(ToString::to_string).collect();
        let message = words.join(": ");
        let (kind, hint) = told(kind, machine_fault(error));
        Self { kind, message, hint }
    }
}

impl From<String> for TaskFailure {
    fn from(message: String) -> Self {
        Self { kind: FailureKind::Internal, message, hint: None }
    }
}

/// Returns kind and advice of a failure of that kind, which a fault of the machine overrules.
fn told(kind: FailureKind, fault: Option<MachineFault>) -> (FailureKind, Option<Hint>) {
    fault.map_or((kind, None), |fault| (fault.kind, Some(fault.hint)))
}

/// A fault of the machine that any stage can meet: a disk that is full or broken, a limit of this
/// user or container that is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineFault {
    /// Who can do something about it: [`FailureKind::Internal`] for disks,
    /// [`FailureKind::Environment`] for limits.
    pub kind: FailureKind,
    /// Advice for the user.
    pub hint: Hint,
}

/// Returns the fault of the machine that an error, or one of its causes, is the system's word for.
pub fn machine_fault(error: &(dyn Error + 'static)) -> Option<MachineFault> {
    chain(error).into_iter().find_map(|error| {
        match error.downcast_ref::<io::Error>() {
            // The error that an error of I/O wraps is none of its causes.
            Some(error) => match error.get_ref() {
                // Some wrappings keep the kind alone.
                Some(wrapped) => machine_fault(wrapped).or_else(|| disk_fault(error.kind())),
                None => error.raw_os_error().and_then(machine_fault_of),
            },
            None => error.is::<ThreadError>().then(MachineFault::no_more_processes),
        }
    })
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

impl MachineFault {
    fn no_more_processes() -> Self {
        Self::limit(hints::no_more_processes())
    }

    fn limit(hint: Hint) -> Self {
        Self { kind: FailureKind::Environment, hint }
    }

    fn disk(hint: Hint) -> Self {
        Self { kind: FailureKind::Internal, hint }
    }
}

/// Returns the fault of the machine that an error number stands for.
///
/// **Source** — `errno(3)`; `fork(2)` for EAGAIN.
pub fn machine_fault_of(errno: i32) -> Option<MachineFault> {
    const EIO: i32 = 5;
    const EAGAIN: i32 = 11;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    disk_fault(io::Error::from_raw_os_error(errno).kind()).or_else(|| match errno {
        EIO => Some(MachineFault::disk(hints::disk_broken())),
        // Files, pipes and sockets that would block are waited for, so it is a fork's answer.
        EAGAIN => Some(MachineFault::no_more_processes()),
        EMFILE => Some(MachineFault::limit(hints::no_more_files())),
        ENFILE => Some(MachineFault::limit(hints::no_more_files_of_machine())),
        _ => None,
    })
}

/// Returns the fault of a disk that a kind of errors stands for.
fn disk_fault(kind: io::ErrorKind) -> Option<MachineFault> {
    let hint = match kind {
        io::ErrorKind::StorageFull => hints::disk_full(),
        io::ErrorKind::QuotaExceeded => hints::quota_used_up(),
        io::ErrorKind::FileTooLarge => hints::file_too_large(),
        _ => return None,
    };
    Some(MachineFault::disk(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot write")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_fault_of_the_machine_is_told_whoever_met_it() {
        const DISK: FailureKind = FailureKind::Internal;
        const LIMIT: FailureKind = FailureKind::Environment;
        for (errno, kind, word) in [
            (28, DISK, "full"),
            (122, DISK, "quota"),
            (5, DISK, "kernel's log"),
            (27, DISK, "ulimit -f"),
            (11, LIMIT, "ulimit -u"),
            (24, LIMIT, "ulimit -Hn"),
            (23, LIMIT, "fs.file-max"),
        ] {
            let error = || Outer(io::Error::from_raw_os_error(errno));
            let failure = StepFailure::new(FailureKind::Remote, error());
            assert_eq!(failure.kind(), kind);
            assert!(failure.hint().unwrap().contains(word), "{errno}");
            // However often it was wrapped on the way through readers and writers.
            let bare = || io::Error::from_raw_os_error(errno);
            for wrapped in [io::Error::other(bare()), io::Error::other(io::Error::other(error()))] {
                let failure = StepFailure::new(FailureKind::User, Outer(wrapped));
                assert!(failure.hint().unwrap().contains(word), "{errno}");
            }
            let failure = TaskFailure::new(FailureKind::User, &error());
            assert_eq!(failure.kind, kind);
            assert!(failure.message.starts_with("cannot write: "), "{failure}");
            assert!(failure.hint.unwrap().contains(word), "{errno}");
        }
        // Some programs' own errors wrap one, and name no cause.
        let opaque = io::Error::new(io::ErrorKind::StorageFull, "no room at a path");
        let failure = StepFailure::new(FailureKind::User, Outer(opaque));
        assert!(failure.hint().unwrap().contains("full"));
        let denied = StepFailure::new(FailureKind::User, Outer(io::Error::from_raw_os_error(13)));
        assert_eq!((denied.kind(), denied.hint()), (FailureKind::User, None));
    }

    #[test]
    fn a_refused_thread_is_a_limit_also_within_other_errors() {
        let refused = || ThreadError { name: "test", source: io::Error::from_raw_os_error(12) };
        let outer = Outer(refused().into());
        let words = chain(&outer).iter().map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(words.starts_with("cannot write: cannot start a thread (test): "), "{words}");
        for error in [
            StepFailure::new(FailureKind::User, outer),
            StepFailure::new(FailureKind::User, refused()),
        ] {
            assert_eq!(error.kind(), FailureKind::Environment);
            assert!(error.hint().unwrap().contains("ulimit -u"));
        }
        assert_eq!(machine_fault(&io::Error::other("words")), None);
    }
}
