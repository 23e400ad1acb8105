//! Why a RUN step did not succeed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xbuild_model::run::Exit;
use xbuild_model::{Cancelled, FailureKind, StepFailure};
use xbuild_wording::{Hint, hints, quoted};

use super::errno::{Errno, errno_of, step_failure};
use crate::diagnose;

/// Why a RUN step did not succeed. Made in the step's own processes and sent to the main one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum RunError {
    /// The command ended with a status other than 0, or by a signal.
    #[error("{}", describe_exit(*.exit))]
    Exit {
        /// How it ended.
        exit: Exit,
        /// Whether its programs are of another architecture than this machine.
        emulated: bool,
        /// What it complained about, if that has a known remedy.
        complaint: Option<Complaint>,
    },
    /// A program without `/` in its name is in none of the folders of `PATH`.
    #[error("{program}: not found in PATH ({path})")]
    NotInPath {
        /// The program.
        program: String,
        /// The value of `PATH`.
        path: String,
    },
    /// The program cannot be executed.
    #[error("cannot execute {program}")]
    Execute {
        /// Its path.
        program: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// The program exists, but the kernel says that a file is missing: the interpreter that its
    /// first line names, or its dynamic loader.
    #[error("cannot execute {program}: the interpreter that it asks for is not found in the image")]
    NoInterpreter {
        /// Its path.
        program: String,
    },
    /// The file is not a program for this machine.
    #[error(
        "cannot execute {program}: exec format error, it is not a {platform} program or script"
    )]
    Format {
        /// Its path.
        program: String,
        /// The platform that the step is for.
        platform: String,
    },
    /// The user or group is unknown.
    #[error("invalid USER {user}: {reason}", user = quoted(.user))]
    User {
        /// `USER` as written.
        user: String,
        /// Why, in words.
        reason: String,
    },
    /// The user or group exists, but has no place in the namespace's id map.
    #[error(
        "USER {user} is uid {uid}, gid {gid}, which cannot be used here: {reason}",
        user = quoted(.user)
    )]
    UnmappedUser {
        /// `USER` as written.
        user: String,
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
        /// Why not, in words.
        reason: String,
    },
    /// The working directory cannot be made or entered.
    #[error("cannot use the working directory {path}", path = quoted(.path))]
    WorkingDirectory {
        /// Its path.
        path: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// A file of the image that the step needs cannot be read.
    #[error("cannot read {path} of the image")]
    ImageFile {
        /// Its path.
        path: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// A file of the image that the step needs is not what it must be.
    #[error("cannot read {path} of the image: {reason}")]
    OddImageFile {
        /// Its path.
        path: String,
        /// What it must be, in words.
        reason: String,
    },
    /// A resource limit that was asked for cannot be set.
    #[error("cannot set the resource limit {name}={soft}:{hard}")]
    Limit {
        /// The limit.
        name: String,
        /// The soft limit.
        soft: u64,
        /// The hard limit.
        hard: u64,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// A part of the request makes no sense.
    #[error("invalid {what}: {value}", value = quoted(.value))]
    Invalid {
        /// The part.
        what: String,
        /// Its value.
        value: String,
    },
    /// An argument or a variable of the command is too long.
    #[error("{what} has {bytes} bytes, and the kernel passes at most {limit} bytes in one")]
    TooLong {
        /// The argument or variable.
        what: String,
        /// Its length.
        bytes: usize,
        /// The most that is possible.
        limit: usize,
    },
    /// All arguments and variables together are too long.
    #[error(
        "cannot execute {program}: its arguments and variables have {bytes} bytes together, more \
         than the kernel passes"
    )]
    TooMany {
        /// The path of the program.
        program: String,
        /// Their length.
        bytes: usize,
    },
    /// A file system of the step cannot be mounted.
    #[error(
        "cannot mount {what}{}",
        .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default()
    )]
    Mount {
        /// The file system, or its place.
        what: String,
        /// The kernel's log of the attempt.
        detail: Option<String>,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// Programs on the file system of the root folder cannot be executed.
    #[error(
        "programs in {} cannot be executed: its file system is mounted with noexec",
        folder.display()
    )]
    NoExec {
        /// The root folder of the step.
        folder: PathBuf,
    },
    /// The source of a mount does not exist.
    #[error(
        "cannot mount {path} at {target}: not found in its stage, image or build context",
        path = quoted(.path)
    )]
    MountSource {
        /// Its path in the stage, image or context.
        path: String,
        /// The target of the mount.
        target: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// Nothing can be mounted at that place.
    #[error("cannot mount anything at {target}: {reason}")]
    MountTarget {
        /// The place.
        target: String,
        /// Why not, in words.
        reason: String,
    },
    /// A mounted file cannot be given to its owner.
    #[error("cannot give {target} to {uid}:{gid}: the id lies outside the range of ids")]
    MountOwner {
        /// The target of the mount.
        target: String,
        /// The user id.
        uid: u32,
        /// The group id.
        gid: u32,
    },
    /// The kernel refused a namespace.
    #[error("cannot create a {namespace} namespace")]
    Unshare {
        /// Its kind, or kinds that were asked for at once.
        namespace: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// Another part of setting up the step was refused.
    #[error("cannot set up the step: {attempt}")]
    Setup {
        /// The attempt.
        attempt: String,
        /// The kernel's reason.
        #[source]
        source: Errno,
    },
    /// Rights of a process cannot be taken away.
    #[error("cannot set up the step: drop capabilities: {reason}")]
    Capabilities {
        /// Why not, in words.
        reason: String,
    },
    /// The filter of system calls cannot be made or installed.
    #[error("cannot set up the step: {reason}")]
    Filter {
        /// Why, in words.
        reason: String,
    },
    /// A part of the request is impossible on the rung of the build.
    #[error("{what} is not possible with this isolation: {why}")]
    NotHere {
        /// The part.
        what: String,
        /// Why not, in words.
        why: String,
    },
    /// The step's own network cannot be joined to the host's.
    #[error("cannot join the network of the step to the host's: {reason}")]
    Network {
        /// Why not, in words.
        reason: String,
    },
    /// Processes that the command left running did not end.
    #[error("processes that the command left running cannot be ended")]
    LeftRunning,
    /// The step is not wanted any more.
    #[error("{Cancelled}")]
    Cancelled,
    /// The first process of the step's pid namespace was killed.
    #[error("the step was killed from outside, or because memory ran out")]
    Killed,
}

impl RunError {
    /// Returns who can do something about the error.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Exit { .. }
            | Self::NotInPath { .. }
            | Self::Execute { .. }
            | Self::NoInterpreter { .. }
            | Self::Format { .. }
            | Self::Cancelled => FailureKind::Step,
            Self::User { .. }
            | Self::WorkingDirectory { .. }
            | Self::ImageFile { .. }
            | Self::OddImageFile { .. }
            | Self::MountSource { .. }
            | Self::MountTarget { .. }
            | Self::TooLong { .. }
            | Self::TooMany { .. }
            | Self::Invalid { .. } => FailureKind::User,
            Self::Killed => FailureKind::Internal,
            _ => FailureKind::Environment,
        }
    }

    /// Returns the remedy, if one is known.
    pub fn hint(&self) -> Option<Hint> {
        match self {
            Self::Exit { complaint: Some(complaint), .. } => Some(complaint.hint()),
            Self::Exit { exit, emulated, .. } => exit_hint(*exit, *emulated),
            Self::Mount { source, .. } | Self::Setup { source, .. } => {
                diagnose::refused_setup(*source)
            }
            Self::Unshare { namespace, source } => {
                Some(diagnose::refused_namespace(namespace, *source))
            }
            Self::NoExec { .. } => Some(hints::off_noexec()),
            Self::MountSource { .. } => Some(hints::sources_of_mounts()),
            Self::MountOwner { .. } => Some(hints::within_range()),
            Self::UnmappedUser { .. } => Some(hints::range_for_user()),
            Self::NotHere { .. } => Some(hints::another_rung()),
            Self::Network { .. } => Some(hints::pasta_must_work()),
            Self::Limit { .. } => Some(hints::hard_limit()),
            Self::TooLong { .. } | Self::TooMany { .. } => Some(hints::long_scripts()),
            Self::Format { .. } => Some(hints::format_of_program()),
            _ => None,
        }
    }

    /// Returns an error of setting the step up, for use with `map_err`.
    pub(crate) fn setup<E: Into<Errno>>(attempt: &str) -> impl FnOnce(E) -> Self {
        move |source| Self::Setup { attempt: attempt.to_owned(), source: source.into() }
    }

    /// Returns an error of making a namespace, for use with `map_err`.
    pub(crate) fn unshare<E: Into<Errno>>(namespace: &str) -> impl FnOnce(E) -> Self {
        move |source| Self::Unshare { namespace: namespace.to_owned(), source: source.into() }
    }

    /// Returns an error of mounting something, for use with `map_err`.
    pub(crate) fn mount<E: Into<Errno>>(what: &str) -> impl FnOnce(E) -> Self {
        move |source| Self::Mount { what: what.to_owned(), detail: None, source: source.into() }
    }
}

impl From<RunError> for StepFailure {
    fn from(error: RunError) -> Self {
        let (kind, hint) = (error.kind(), error.hint());
        let source = match &error {
            // ENOSPC is a limit here, and the hint says which.
            RunError::Unshare { .. } => None,
            _ => errno_of(&error),
        };
        step_failure(kind, hint, source, error)
    }
}

fn describe_exit(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("the command ended with exit code {code}"),
        Exit::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("the command was killed by {name} (exit code {})", 128 + signal),
            None => {
                format!("the command was killed by signal {signal} (exit code {})", 128 + signal)
            }
        },
    }
}

/// What a command said that has a known remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Complaint {
    /// A port is in use, in the network of this machine.
    PortInUse,
    /// A disk or a quota has no room left.
    NoRoom,
}

impl Complaint {
    /// Returns the remedy.
    fn hint(self) -> Hint {
        match self {
            Self::PortInUse => hints::port_in_use(),
            Self::NoRoom => hints::no_room(),
        }
    }
}

/// Returns the frequent cause of an exit. A shell whose last command was killed by a signal ends
/// with 128 and the signal's number.
fn exit_hint(exit: Exit, emulated: bool) -> Option<Hint> {
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
    };
    match (code, code - 128) {
        (126, _) => Some(hints::exit_126()),
        (127, _) => Some(hints::exit_127()),
        (_, libc::SIGKILL) => Some(hints::memory()),
        (_, libc::SIGILL | libc::SIGSEGV) if emulated => Some(hints::newer_qemu()),
        _ => None,
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_a_command_ended() {
        for (exit, text) in [
            (Exit::Code(37), "the command ended with exit code 37"),
            (Exit::Signal(9), "the command was killed by SIGKILL (exit code 137)"),
            (Exit::Signal(40), "the command was killed by signal 40 (exit code 168)"),
        ] {
            assert_eq!(RunError::Exit { exit, emulated: false, complaint: None }.to_string(), text);
        }
    }

    #[test]
    fn says_what_an_exit_is_often_due_to() {
        let hint = |exit, emulated| {
            let error = RunError::Exit { exit, emulated, complaint: None };
            error.hint().unwrap_or_default()
        };
        for (exit, word) in [
            (Exit::Code(126), "execute permission"),
            (Exit::Code(127), "PATH"),
            (Exit::Code(137), "memory"),
            (Exit::Signal(libc::SIGKILL), "memory"),
        ] {
            assert!(hint(exit, false).contains(word), "{exit:?}");
            assert_eq!(hint(exit, true), hint(exit, false));
        }
        let crashes = [libc::SIGILL, libc::SIGSEGV];
        for exit in crashes.into_iter().flat_map(|s| [Exit::Code(128 + s), Exit::Signal(s)]) {
            assert!(hint(exit, false).is_empty(), "{exit:?}");
            assert!(hint(exit, true).contains("QEMU"), "{exit:?}");
        }
        assert!(hint(Exit::Code(1), true).is_empty());
    }

    #[test]
    fn a_limit_of_namespaces_is_no_full_disk() {
        let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let limit = StepFailure::from(RunError::unshare("pid or mount")(Errno::from(full)));
        assert_eq!(limit.kind(), FailureKind::Environment);
        let hint = limit.hint().cloned().unwrap_or_default();
        // Where the kernel's own answer is looked at, another setting may explain it first.
        assert!(hint.contains("_namespaces") || hint.contains("userns"), "{hint}");
        let full = std::io::Error::from_raw_os_error(libc::ENOSPC);
        let disk = StepFailure::from(RunError::setup("make a folder")(Errno::from(full)));
        assert_eq!(disk.kind(), FailureKind::Internal);
    }

    #[test]
    fn survives_the_way_to_another_process() {
        let error = RunError::Mount {
            what: "overlay".to_owned(),
            detail: Some("no xattrs".to_owned()),
            source: std::io::Error::from_raw_os_error(libc::EPERM).into(),
        };
        let sent = serde_json::to_vec(&error).unwrap();
        assert_eq!(serde_json::from_slice::<RunError>(&sent).unwrap(), error);
        assert_eq!(error.to_string(), "cannot mount overlay (no xattrs)");
    }
}
