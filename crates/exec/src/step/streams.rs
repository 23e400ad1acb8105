//! The standard streams of a command.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;

use crate::error::RunError;
use crate::protocol::{StepRequest, Streams};
use crate::wire;

/// The ends that the standard streams of a command get.
#[derive(Debug)]
pub(super) enum Connected {
    /// The pipe that is both standard output and standard error: two pipes would not tell in which
    /// order they were written to. There is nothing to read.
    Output(OwnedFd),
    /// Standard input, output and error.
    Three([OwnedFd; 3]),
    /// A new terminal, whose other side goes to this socket.
    Terminal(OwnedFd),
}

impl Connected {
    /// Returns the streams that a request asks for; `output` and `files` came with it.
    pub(super) fn new(
        request: &StepRequest,
        output: OwnedFd,
        files: Vec<OwnedFd>,
    ) -> Result<Self, RunError> {
        let missing = || RunError::Invalid { what: "request".into(), value: "no streams".into() };
        match request.streams {
            Streams::Output => Ok(Self::Output(output)),
            Streams::Three => files.try_into().map(Self::Three).map_err(|_| missing()),
            Streams::Terminal => files.into_iter().next().map(Self::Terminal).ok_or_else(missing),
        }
    }

    /// Makes them the streams of this process, the first of its session. `uid` is the user that the
    /// command will be, who must be able to open `/dev/stdout`.
    pub(super) fn connect(&self, uid: u32) -> Result<(), Errno> {
        let give = |file: &OwnedFd| rustix::fs::fchown(file, Some(Uid::from_raw(uid)), None::<Gid>);
        match self {
            Self::Output(output) => {
                let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                let null = rustix::fs::open("/dev/null", flags, Mode::empty())?;
                give(output)?;
                become_streams([&null, output, output])
            }
            Self::Three([input, output, errors]) => {
                // Files of the caller stay the caller's.
                become_streams([input, output, errors])
            }
            Self::Terminal(socket) => {
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                let flags = OFlags::from_bits_retain(flags.bits());
                let other = rustix::fs::open("/dev/ptmx", flags, Mode::empty())?;
                rustix::pty::unlockpt(&other)?;
                let open = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                let terminal = rustix::pty::ioctl_tiocgptpeer(&other, open)?;
                give(&terminal)?;
                wire::send(socket, b"terminal", &[other.as_fd()]).map_err(|_| Errno::PIPE)?;
                rustix::process::ioctl_tiocsctty(&terminal)?;
                become_streams([&terminal; 3])
            }
        }
    }
}

fn become_streams([input, output, errors]: [&OwnedFd; 3]) -> Result<(), Errno> {
    rustix::stdio::dup2_stdin(input)?;
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(errors)
}
