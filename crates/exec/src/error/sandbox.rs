//! Why work cannot be done in a user namespace.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_model::{FailureKind, StepFailure, TaskFailure};
use xbuild_wording::{Hint, hints, quoted};

use super::errno::{Errno, errno_of, step_failure};
use crate::diagnose;

/// Why the build's user namespace cannot be made, or a task in it failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SandboxError {
    /// The command line forbids namespaces.
    #[error("this build must run a command, which isolation \"none\" does not allow")]
    Disabled,
    /// The command line demands a rung or a root file system that is out of reach.
    #[error("isolation {isolation} is not possible here: {reason}", isolation = quoted(.isolation))]
    Impossible {
        /// The demand.
        isolation: String,
        /// Why not, in words.
        reason: String,
        /// The remedy.
        how_to_get: Hint,
    },
    /// This machine lacks something that every RUN needs.
    #[error("RUN steps need {need}: {why}")]
    Lacking {
        /// The need.
        need: String,
        /// Why it is not met.
        why: String,
        /// The remedy.
        how_to_get: Hint,
    },
    /// The file system of the store is full or broken, so nothing could be tried out there.
    #[error("cannot try out RUN steps in {folder}", folder = folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        #[source]
        source: Errno,
    },
    /// The helper process could not be prepared or started.
    #[error("cannot start the namespace helper: {attempt}")]
    Start {
        /// The attempt.
        attempt: String,
        /// The system's reason.
        #[source]
        source: Errno,
    },
    /// The kernel refused a namespace.
    #[error("cannot create a {namespace} namespace")]
    Unshare {
        /// Its kind.
        namespace: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The id map could not be written.
    #[error("cannot write the id map {file} of the user namespace")]
    WriteMap {
        /// The file.
        file: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The set-user-ID program that writes the id map failed.
    #[error("{program} refused the id map: {message}")]
    MapRefused {
        /// The program.
        program: String,
        /// Its message.
        message: String,
    },
    /// The helper could not be set up inside its new namespaces.
    #[error("cannot set the namespace up: {attempt}")]
    Setup {
        /// The attempt.
        attempt: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The emulators that the build needs could not be registered.
    #[error("cannot register emulators: {reason}")]
    Emulators {
        /// Why, in words.
        reason: String,
    },
    /// The helper is gone, killed from outside or by a lack of memory.
    #[error("the namespace helper ended unexpectedly")]
    Gone,
    /// A message of the other side makes no sense.
    #[error("the namespace helper and xbuild misunderstood each other: {what}")]
    Protocol {
        /// The fault.
        what: String,
    },
    /// A task answered with an error.
    #[error("{failure}")]
    Task {
        /// The name of the task.
        task: String,
        /// Its failure, in words.
        failure: TaskFailure,
    },
    /// A task's process ended without an answer.
    #[error("the process of the task {task} was killed, or crashed")]
    TaskDied {
        /// The name of the task.
        task: String,
    },
}

impl SandboxError {
    /// Returns who can do something about the error.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Task { failure, .. } => failure.kind,
            Self::Gone | Self::Protocol { .. } | Self::TaskDied { .. } => FailureKind::Internal,
            _ => FailureKind::Environment,
        }
    }

    /// Returns the remedy, judging by the settings of this machine.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Unshare { namespace, source } => {
                Some(diagnose::refused_namespace(namespace, *source))
            }
            Self::Setup { source, .. } => diagnose::refused_setup(*source),
            Self::MapRefused { .. } => Some(hints::subordinate_ids()),
            Self::Impossible { how_to_get, .. } | Self::Lacking { how_to_get, .. } => {
                Some(how_to_get.clone())
            }
            Self::Disabled => Some(hints::leave_out_none()),
            Self::Task { failure, .. } => failure.hint.clone(),
            _ => None,
        }
    }
}

impl From<SandboxError> for StepFailure {
    fn from(error: SandboxError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let source = match &error {
            // ENOSPC is a limit here, and the hint says which.
            SandboxError::Unshare { .. } => None,
            _ => errno_of(&error),
        };
        step_failure(kind, hint, source, error)
    }
}
